{ 'includes': ['src/build/addon.gypi'] }
