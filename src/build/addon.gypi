# The addon. The file binding.gyp only includes it: package managers run node-gyp, unasked, in every
# package that has a file of that name, so the published package has none and src/build/compile.js writes it.
{
  'variables': {
    # Some runtimes' headers ask for it without defining it.
    'openssl_fips': '',
    'werror%': '<!(node -p "process.env.OA_WERROR ? 1 : 0")',
  },
  'targets': [
    {
      'target_name': 'optimizely_amplitude',
      'sources': [
        '../core/amplitude/ids.c',
        '../core/amplitude/render.c',
        '../core/amplitude/response.c',
        '../core/attempt.c',
        '../core/backoff.c',
        '../core/batch.c',
        '../core/buf.c',
        '../core/deliver.c',
        '../core/dispatcher.c',
        '../core/exposure.c',
        '../core/fit.c',
        '../core/flush.c',
        '../core/hash.c',
        '../core/mem.c',
        '../core/notices.c',
        '../core/park.c',
        '../core/queue.c',
        '../core/record.c',
        '../core/status.c',
        '../core/variant.c',
        '../core/verdict.c',
        '../host/clock.c',
        '../host/curl.c',
        '../host/gzip.c',
        '../host/node/binding.cc',
        '../host/node/places.c',
        '../host/node/uv.c',
      ],
      # libuv and zlib are Node's own: its headers bring theirs, its executable exports them.
      'include_dirs': [
        '../core',
        '<!(node -p "require(\'node-addon-api\').include_dir")',
        '<!@(node src/build/needs.js include)',
      ],
      'libraries': ['<!@(node src/build/needs.js link)'],
      'defines': [
        'NAPI_VERSION=8',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
        '_GNU_SOURCE',
      ],
      'cflags': ['-fvisibility=hidden', '-Wall', '-Wextra'],
      'cflags_c': ['-std=c11', '-Wstrict-prototypes', '-Wvla'],
      'cflags_cc': ['-std=c++17'],
      'xcode_settings': {
        'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
        'GCC_C_LANGUAGE_STANDARD': 'c11',
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
      },
      'conditions': [
        ['OS == "linux"', {
          'ldflags': [
            # Our own symbols are not taken from another library that happens to have the same names.
            '-Wl,-Bsymbolic',
            # A Worker's exit must not unmap code that a thread of the pool or libcurl still runs.
            '-Wl,-z,nodelete',
            # A missing symbol is an error at load, which can be explained, and not a crash later.
            '-Wl,-z,now',
          ],
        }],
        # Only when asked: the warnings of a newer compiler must not break an installation.
        ['werror == 1', {
          'cflags': ['-Werror'],
          'xcode_settings': { 'GCC_TREAT_WARNINGS_AS_ERRORS': 'YES' },
        }],
      ],
    },
  ],
}
