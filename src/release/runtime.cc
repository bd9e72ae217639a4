/*
 * The part of the C++ library that a prebuilt addon needs. The whole libstdc++ would add its unwinder and
 * demangler (150 KB), which need a newer glibc than Node does.
 * The addon is compiled without exceptions: where libstdc++ throws, this ends the process.
 */
#include <cstdlib>
#include <new>
#include <string>

void *operator new(std::size_t size) {
    void *memory = std::malloc(size > 0 ? size : 1);
    if (memory == nullptr)
        std::abort();
    return memory;
}

void *operator new[](std::size_t size) { return operator new(size); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, std::size_t) noexcept { std::free(memory); }

namespace std {
void __throw_bad_alloc() { std::abort(); }
void __throw_bad_array_new_length() { std::abort(); }
void __throw_length_error(const char *) { std::abort(); }
void __throw_logic_error(const char *) { std::abort(); }
void __throw_out_of_range_fmt(const char *, ...) { std::abort(); }
void __throw_bad_function_call() { std::abort(); }
} // namespace std

/* An instance that the headers declare and leave to the library. */
template class std::basic_string<char>;
