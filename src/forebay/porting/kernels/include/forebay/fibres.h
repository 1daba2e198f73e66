// Run the threads of a CUDA block on one thread of the host.
//
// Asked:  what does __syncthreads() mean where there are no GPU threads?
// Answer: each CUDA thread is a fibre with a stack of its own. A fibre that reaches the end of its CUDA thread takes the next
//         one, so a kernel that never waits is a plain loop on one stack; one that waits (for the block, for its warp)
//         is set aside until the others came, and only then needs a stack more. Nothing is decided beforehand.
// Limits: a fibre gives way only where it waits, at a failed atomicCAS or at __nanosleep: a loop on a plain load hangs.
//         Stacks have 256 KiB and a guard page. Switching is by hand on x86-64, by ucontext elsewhere.
#pragma once

#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "types.h"

namespace forebay_cuda FOREBAY_HIDDEN {

constexpr std::size_t kStack = 256 * 1024;

// ---- switching between stacks
#if defined(__x86_64__)
struct Place { void* stack_pointer = nullptr; };

// Saves what a function must keep (System V ABI 3.2.1), changes stacks, and restores the other side's.
__attribute__((naked, noinline)) static void swap_stacks(void** /*from*/, void* /*to*/) {
  __asm__ volatile(
      "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
}
static inline void change(Place& from, Place& to) { swap_stacks(&from.stack_pointer, to.stack_pointer); }
static inline void prepare(Place& place, char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + kStack) - 8;
  std::memset(top, 0, 8 * sizeof(void*));
  top[6] = reinterpret_cast<void*>(entry);  // what `ret` finds above the six saved registers; the stack is then 8 off 16
  place.stack_pointer = top;
}
#else
struct Place { ucontext_t context; };
static inline void change(Place& from, Place& to) { swapcontext(&from.context, &to.context); }
static inline void prepare(Place& place, char* stack, void (*entry)()) {
  getcontext(&place.context);
  place.context.uc_stack.ss_sp = stack;
  place.context.uc_stack.ss_size = kStack;
  place.context.uc_link = nullptr;
  makecontext(&place.context, entry, 0);
}
#endif

// Stacks are kept for the next launch, by all threads of the host together.
class Stacks {
 public:
  char* take() {
    {
      std::lock_guard<std::mutex> held(lock_);
      if (!free_.empty()) {
        char* stack = free_.back();
        free_.pop_back();
        return stack;
      }
    }
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* place = mmap(nullptr, kStack + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) throw std::bad_alloc();
    mprotect(place, page, PROT_NONE);
    return static_cast<char*>(place) + page;
  }
  void give(char* stack) {
    std::lock_guard<std::mutex> held(lock_);
    free_.push_back(stack);
  }

 private:
  std::mutex lock_;
  std::vector<char*> free_;
};
inline Stacks& stacks() {
  static Stacks* all = new Stacks;  // never destroyed: threads of the host may outlive static objects
  return *all;
}

// ---- one block
enum class Meet : std::uint8_t { none, shuffle, gather, converge };

struct Fibre {
  Place place;
  char* stack = nullptr;
  unsigned thread = 0;  // its place in the block, x first
};

// What a lane brings to a meeting of its warp, and what it takes away.
struct Lane {
  Meet meet = Meet::none;
  unsigned mask = 0;
  const void* site = nullptr;
  std::uint64_t brings[2] = {0, 0};
  int source = 0;
  std::uint64_t takes[2] = {0, 0};
  unsigned came = 0;                // the lanes of the meeting
  std::uint64_t* all = nullptr;     // gather: where the 32 values go
  Fibre* waits = nullptr;
};

struct Warp {
  unsigned waiting = 0;
  unsigned gone = 0;  // lanes that returned, or that the block doesn't have
  Lane lanes[32];
};

struct Deadlock : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Block;
inline thread_local Block* the_block = nullptr;

class Block {
 public:
  Block(void (*body)(void*), void* with) : body_(body), with_(with) {}
  ~Block() {
    for (auto& fibre : fibres_) stacks().give(fibre->stack);
    std::free(shared_);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void run(uint3 at, std::size_t shared_bytes) {
    blockIdx = at;
    total_ = live_ = blockDim.x * blockDim.y * blockDim.z;
    next_ = arrived_ = counted_ = 0;
    warps_used_ = (total_ + 31) / 32;
    if (warps_.size() < warps_used_) warps_.resize(warps_used_);
    for (unsigned w = 0; w < warps_used_; ++w) warps_[w].waiting = warps_[w].gone = 0;
    if (total_ % 32) warps_[warps_used_ - 1].gone = ~0u << (total_ % 32);
    if (shared_bytes > shared_size_) {
      std::free(shared_);
      shared_size_ = (shared_bytes + 127) / 128 * 128;
      shared_ = static_cast<char*>(std::aligned_alloc(128, shared_size_));
    }
    Block* outer = the_block;
    the_block = this;
    schedule();
    the_block = outer;
    if (failed_) std::rethrow_exception(failed_);
  }

  void* shared() { return shared_; }
  unsigned thread() const { return now_->thread; }
  bool one_warp() const { return total_ > 1 && total_ <= 32; }

  // __syncthreads and its counting sisters: the number of threads that brought a true.
  int barrier(bool vote) {
    counted_ += vote;
    if (++arrived_ == live_) {
      release_barrier();
    } else {
      at_barrier_.push_back(now_);
      leave();
    }
    return answer_;
  }

  // Wait for the lanes of `mask`. The last to come works out what each takes away.
  Lane& meet(Meet what, unsigned mask, const void* site, std::uint64_t low, std::uint64_t high, int source, std::uint64_t* all) {
    const unsigned number = now_->thread % 32;
    Warp& warp = warps_[now_->thread / 32];
    Lane& lane = warp.lanes[number];
    lane.meet = what;
    lane.mask = mask | (1u << number);
    lane.site = site;
    lane.brings[0] = low;
    lane.brings[1] = high;
    lane.source = source;
    lane.all = all;
    lane.waits = now_;
    warp.waiting |= 1u << number;
    if (what == Meet::converge || !complete(warp, number)) leave();
    return lane;
  }

  // Let the others go on: for loops that wait for them.
  void yield() {
    yielded_.push_back(now_);
    leave();
  }

 private:
  void schedule() {
    for (;;) {
      Fibre* fibre = nullptr;
      if (!ready_.empty()) {
        fibre = ready_.front();
        ready_.pop_front();
      } else if (next_ < total_) {
        fibre = idle();
        fibre->thread = next_++;
      } else if (!yielded_.empty()) {
        fibre = yielded_.front();
        yielded_.pop_front();
      } else if (live_ == 0) {
        return;
      } else if (converge()) {
        continue;
      } else {
        give_up();
        return;
      }
      show(fibre);
      change(scheduler_, fibre->place);
      if (failed_) return abandon();
    }
  }

  void show(Fibre* fibre) {
    now_ = fibre;
    const unsigned t = fibre->thread, row = t / blockDim.x;
    threadIdx = {t - row * blockDim.x, row % blockDim.y, row / blockDim.y};
  }

  Fibre* idle() {
    if (idle_.empty()) {
      fibres_.push_back(std::make_unique<Fibre>());
      fibres_.back()->stack = stacks().take();
      prepare(fibres_.back()->place, fibres_.back()->stack, &Block::entry);
      return fibres_.back().get();
    }
    Fibre* fibre = idle_.back();
    idle_.pop_back();
    return fibre;
  }

  static void entry() { the_block->loop(); }

  void loop() {
    Fibre* self = now_;
    for (;;) {
      try {
        body_(with_);
      } catch (...) {
        failed_ = std::current_exception();
      }
      end_thread(self->thread);
      if (!failed_ && ready_.empty() && next_ < total_) {
        self->thread = next_++;
        show(self);
        continue;
      }
      idle_.push_back(self);
      leave();
    }
  }

  void leave() { change(now_->place, scheduler_); }

  void end_thread(unsigned thread) {
    --live_;
    if (arrived_ && arrived_ == live_) release_barrier();
    Warp& warp = warps_[thread / 32];
    warp.gone |= 1u << (thread % 32);
    if (warp.waiting) {
      for (unsigned number = 0; number < 32; ++number) {
        if ((warp.waiting >> number & 1) && warp.lanes[number].meet != Meet::converge) complete(warp, number);
      }
    }
  }

  void release_barrier() {
    answer_ = counted_;
    arrived_ = counted_ = 0;
    for (Fibre* fibre : at_barrier_) ready_.push_back(fibre);
    at_barrier_.clear();
  }

  // If all lanes that this one waits for are there, end the meeting.
  bool complete(Warp& warp, unsigned number) {
    const Lane& mine = warp.lanes[number];
    const unsigned need = mine.mask & ~warp.gone;
    if ((warp.waiting & need) != need) return false;
    for (unsigned other = 0; other < 32; ++other) {
      const Lane& lane = warp.lanes[other];
      if ((need >> other & 1) && (lane.meet != mine.meet || lane.mask != mine.mask)) return false;
    }
    end_meeting(warp, need);
    return true;
  }

  void end_meeting(Warp& warp, unsigned who) {
    for (unsigned number = 0; number < 32; ++number) {
      if (!(who >> number & 1)) continue;
      Lane& lane = warp.lanes[number];
      lane.came = who;
      const Lane& from = warp.lanes[(who >> (lane.source & 31) & 1) ? lane.source & 31 : number];
      lane.takes[0] = from.brings[0];
      lane.takes[1] = from.brings[1];
      if (lane.all) {
        for (unsigned other = 0; other < 32; ++other) lane.all[other] = (who >> other & 1) ? warp.lanes[other].brings[0] : 0;
      }
    }
    warp.waiting &= ~who;
    for (unsigned number = 0; number < 32; ++number) {
      if (!(who >> number & 1)) continue;
      Fibre* fibre = warp.lanes[number].waits;
      if (fibre != now_) ready_.push_back(fibre);
    }
  }

  // Nobody can go on: lanes that asked who is with them (__activemask, in_step) get those that asked at the same place. The place
  // that comes first goes first.
  bool converge() {
    for (unsigned w = 0; w < warps_used_; ++w) {
      Warp& warp = warps_[w];
      const void* first = nullptr;
      unsigned who = 0;
      for (unsigned number = 0; number < 32; ++number) {
        const Lane& lane = warp.lanes[number];
        if (!(warp.waiting >> number & 1) || lane.meet != Meet::converge) continue;
        if (!who || std::less<const void*>()(lane.site, first)) {
          first = lane.site;
          who = 0;
        }
        if (lane.site == first) who |= 1u << number;
      }
      if (who) {
        now_ = nullptr;
        end_meeting(warp, who);
        return true;
      }
    }
    return false;
  }

  void give_up() {
    unsigned in_warps = 0;
    for (unsigned w = 0; w < warps_used_; ++w) in_warps += static_cast<unsigned>(__builtin_popcount(warps_[w].waiting));
    char text[400];
    std::snprintf(text, sizeof text,
                  "the threads of block (%u, %u, %u) wait for each other for ever: %u wait at __syncthreads, %u at a warp "
                  "operation whose mask names lanes that never come (of %u threads, %u returned)",
                  blockIdx.x, blockIdx.y, blockIdx.z, arrived_, in_warps, total_, total_ - live_);
    failed_ = std::make_exception_ptr(Deadlock(text));
    abandon();
  }

  // After an error: what is left of the fibres is not unwound, and their stacks start anew in the next launch.
  void abandon() {
    ready_.clear();
    yielded_.clear();
    at_barrier_.clear();
    idle_.clear();
  }

  void (*body_)(void*);
  void* with_;
  Place scheduler_;
  Fibre* now_ = nullptr;
  unsigned total_ = 0, live_ = 0, next_ = 0, arrived_ = 0, warps_used_ = 0;
  int counted_ = 0, answer_ = 0;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<Fibre*> idle_, at_barrier_;
  std::deque<Fibre*> ready_, yielded_;
  std::vector<Warp> warps_;
  char* shared_ = nullptr;
  std::size_t shared_size_ = 0;
  std::exception_ptr failed_;
};

}  // namespace forebay_cuda
