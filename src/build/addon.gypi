# The addon. binding.gyp only includes this file. Package managers run node-gyp by themselves in every package
# that has a binding.gyp, so the published package has none, and src/build/compile.js writes it.
{
  'variables': {
    # The headers of some runtimes use it without defining it.
    'openssl_fips': '',
    'werror%': '<!(node -p "process.env.OA_WERROR ? 1 : 0")',
  },
  'targets': [
    {
      'target_name': 'optimizely_amplitude',
      'sources': [
        '../core/amplitude/body.c',
        '../core/amplitude/ids.c',
        '../core/amplitude/render.c',
        '../core/amplitude/response.c',
        '../core/attempt.c',
        '../core/backoff.c',
        '../core/batch.c',
        '../core/buf.c',
        '../core/cohort_build.c',
        '../core/cohort_changes.c',
        '../core/cohort_csv.c',
        '../core/cohort_json.c',
        '../core/cohort_merge.c',
        '../core/cohort_message.c',
        '../core/cohort_overlay.c',
        '../core/cohort_runs.c',
        '../core/cohort_table.c',
        '../core/coding.c',
        '../core/copies.c',
        '../core/crc32.c',
        '../core/deflate.c',
        '../core/deflate_block.c',
        '../core/deliver.c',
        '../core/dispatcher.c',
        '../core/drop.c',
        '../core/exposure.c',
        '../core/fit.c',
        '../core/fleet.c',
        '../core/flush.c',
        '../core/hash.c',
        '../core/health.c',
        '../core/huffman.c',
        '../core/mem.c',
        '../core/notices.c',
        '../core/park.c',
        '../core/queue.c',
        '../core/record.c',
        '../core/status.c',
        '../core/store.c',
        '../core/trail.c',
        '../core/trouble.c',
        '../core/variant.c',
        '../core/verdict.c',
        '../host/clock.c',
        '../host/curl.c',
        '../host/gunzip.c',
        '../host/load.c',
        '../host/node/binding.cc',
        '../host/node/cohorts.cc',
        '../host/node/loader.c',
        '../host/node/places.c',
        '../host/node/uv.c',
        '../host/pages.c',
        '../host/snapshot.c',
      ],
      # libuv is Node's own: Node's headers include it, and Node's executable exports it.
      'include_dirs': ['../core', '<!@(node src/build/needs.js include)'],
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
            # Our symbols are bound to our code, even when another library has the same names.
            '-Wl,-Bsymbolic',
            # Templates of the C++ library would be exported.
            '-Wl,--version-script=<(module_root_dir)/src/build/exports.map',
            # A Worker's exit must not unmap code that the thread pool or libcurl still runs.
            '-Wl,-z,nodelete',
            # A missing symbol fails the load, which we can explain, instead of crashing the process later.
            '-Wl,-z,now',
          ],
        }],
        # Only in CI: a newer compiler's warnings must not break an installation.
        ['werror == 1', {
          'cflags': ['-Werror'],
          'xcode_settings': { 'GCC_TREAT_WARNINGS_AS_ERRORS': 'YES' },
        }],
      ],
    },
  ],
}
