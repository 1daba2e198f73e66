// Spellings that torch dropped and that extensions still have.
#pragma once

#include <type_traits>

namespace at {
class DeprecatedTypeProperties;
}

// AT_DISPATCH_...(x.type(), ...): the scalar type of what x.type() gives. Torch's own overload takes x.scalar_type() only.
namespace detail {
template <class T, std::enable_if_t<std::is_same<T, at::DeprecatedTypeProperties>::value, int> = 0>
auto scalar_type(const T& type) {
  return type.scalarType();
}
}  // namespace detail
