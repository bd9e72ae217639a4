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
        'src/binding.cc',
        'src/core/batch.c',
        'src/core/buf.c',
        'src/core/clock.c',
        'src/core/deliver.c',
        'src/core/dispatcher.c',
        'src/core/exposure.c',
        'src/core/flush.c',
        'src/core/hash.c',
        'src/core/identity.c',
        'src/core/job.c',
        'src/core/mem.c',
        'src/core/park.c',
        'src/core/queue.c',
        'src/core/render.c',
        'src/core/response.c',
        'src/core/retry.c',
        'src/core/status.c',
        'src/core/template.c',
        'src/core/transport_curl.c',
        'src/core/verdict.c',
      ],
      # libuv and zlib are Node's own: its headers bring theirs, its executable exports them.
      'include_dirs': [
        '<!(node -p "require(\'node-addon-api\').include_dir")',
        '<!@(node src/deps.js include)',
      ],
      'libraries': ['<!@(node src/deps.js link)'],
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
