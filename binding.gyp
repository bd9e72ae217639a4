{ 'includes': ['src/addon.gypi'] }
