// The identity layer for a chip with a device name of its own: what its source files share.
//
// Asked:  a script says "cuda" and the chip's tensors are on "npu": who translates?
// Answer: torch's dispatcher. Nothing is ever on a cuda device here; what is registered under its keys passes each call on to
//         the chip's, with the device renamed. Tensors, kernels and memory stay the plug-in's own.
// Limits: one chip in a process. Which one is a define: FOREBAY_CHIP is PrivateUse1, XPU, MPS or HPU.
//
// redirect.cpp  operators: those that name a device, and CUDA's autocast policy for the chip
// guard.cpp     the guard, streams, events, generators and pinned memory of "cuda"
// stand_in.cpp  for a chip written in Python alone: the guard and the generators that torch takes from C++ only
// names.cpp     what `tensor.device` answers, and to whom
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <c10/core/DispatchKey.h>

#include <optional>

#define FOREBAY_TORCH_AT_LEAST(major, minor) (FOREBAY_TORCH >= 100 * (major) + (minor))

namespace forebay {

constexpr c10::DeviceType kChip = c10::DeviceType::FOREBAY_CHIP;
constexpr c10::DispatchKey kChipKey = c10::DispatchKey::FOREBAY_CHIP;

inline c10::Device on_chip(c10::Device device) {
  return device.is_cuda() ? c10::Device(kChip, device.index()) : device;
}

inline std::optional<c10::Device> on_chip(std::optional<c10::Device> device) {
  return device ? std::optional<c10::Device>(on_chip(*device)) : device;
}

// ---- guard.cpp: whether the next generator is to be the card's default one; asked once
bool take_next_is_default();

// ---- stand_in.cpp
bool stands_in();
const at::Generator& stand_in_generator(c10::DeviceIndex index);
at::Generator new_stand_in_generator(c10::DeviceIndex index);

}  // namespace forebay
