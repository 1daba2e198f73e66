// What a tensor of the chip says of its place, and to whom.
//
// Asked:  `x.device` of a tensor on npu:0: "cuda:0" or "npu:0"?
// Answer: a script and its libraries hear cuda:0; torch's compilers, the plug-in and libraries that know the chip hear npu:0.
//         A getter of C around torch's own looks at the caller's module name, and remembers its verdict by the string object.
// Limits: it stands on Python's stable interface, declared here, so that no header of Python's is needed. torch.device is read
//         by its layout, which `forebay_names` checks first.
#include "redirect.h"

#include <cstdint>
#include <cstring>

extern "C" {

struct _object;
using PyObject = _object;
using Getter = PyObject* (*)(PyObject*, void*);
using Method = PyObject* (*)(PyObject*, PyObject*, PyObject*);
using DescriptorGet = PyObject* (*)(PyObject*, PyObject*, PyObject*);

struct PyGetSetDef {
  const char* name;
  Getter get;
  void* set;
  const char* doc;
  void* closure;
};

struct PyMethodDef {
  const char* name;
  void* call;
  int flags;
  const char* doc;
};

PyObject* PyDescr_NewMethod(PyObject*, PyMethodDef*);
PyObject* PyObject_Call(PyObject*, PyObject*, PyObject*);
PyObject* PyUnicode_Replace(PyObject*, PyObject*, PyObject*, intptr_t);
PyObject* PyEval_GetGlobals();
PyObject* PyDict_GetItem(PyObject*, PyObject*);
PyObject* PyUnicode_InternFromString(const char*);
PyObject* PyDescr_NewGetSet(PyObject*, PyGetSetDef*);
PyObject* PyObject_CallFunctionObjArgs(PyObject*, ...);
PyObject* PyBool_FromLong(long);
PyObject* PyObject_GetAttrString(PyObject*, const char*);
void* PyType_GetSlot(PyObject*, int);
int PyObject_IsTrue(PyObject*);
void PyErr_Clear();
void Py_IncRef(PyObject*);
void Py_DecRef(PyObject*);

}  // extern "C"

namespace {

constexpr int kDescriptorGet = 54;  // Py_tp_descr_get of CPython's typeslots.h, part of the stable interface
constexpr int kVariableAndKeywords = 0x0001 | 0x0002;  // METH_VARARGS | METH_KEYWORDS
constexpr int kMostCards = 64;
constexpr size_t kRemembered = 4096;  // a power of two

PyObject* name_word;             // "__name__"
PyObject* told_the_truth;        // lies.py's table: module name -> bool
PyObject* cuda_devices[kMostCards + 1];  // torch.device("cuda", i), and without an index at the end
size_t device_at;                // where a torch.device keeps its two bytes

struct Verdict {
  PyObject* name = nullptr;
  bool truth = false;
};
Verdict verdicts[kRemembered];

// Is the module that asks told the truth? Asked with the interpreter's lock held.
bool asker_knows() {
  PyObject* globals = PyEval_GetGlobals();
  PyObject* name = globals ? PyDict_GetItem(globals, name_word) : nullptr;
  if (name == nullptr) {
    return globals == nullptr;  // no Python frame: torch's own C++
  }
  size_t place = (reinterpret_cast<uintptr_t>(name) >> 4) & (kRemembered - 1);
  for (size_t tries = 0; tries < 16; ++tries, place = (place + 1) & (kRemembered - 1)) {
    if (verdicts[place].name == name) {
      return verdicts[place].truth;
    }
    if (verdicts[place].name == nullptr) {
      break;
    }
  }
  PyObject* answer = PyObject_CallFunctionObjArgs(told_the_truth, name, nullptr);
  if (answer == nullptr) {
    PyErr_Clear();
    return false;
  }
  const bool truth = PyObject_IsTrue(answer) == 1;
  Py_DecRef(answer);
  if (verdicts[place].name == nullptr) {
    Py_IncRef(name);  // kept, so that no other string gets its address
    verdicts[place] = {name, truth};
  }
  return truth;
}

struct Wrapped {  // one descriptor of torch's, and its reader
  PyObject* original;
  DescriptorGet read;
  bool asks_is_cuda;
};

PyObject* original_value(const Wrapped& of, PyObject* self) {
  if (of.read != nullptr) {
    return of.read(of.original, self, nullptr);
  }
  PyObject* get = PyObject_GetAttrString(of.original, "__get__");  // Python 3.9 has no slots of static types
  PyObject* value = get ? PyObject_CallFunctionObjArgs(get, self, nullptr) : nullptr;
  if (get) {
    Py_DecRef(get);
  }
  return value;
}

// An object of Python's ends in its type: `size` bytes are a plain object's whole.
void* type_of(PyObject* value) {
  void* type = nullptr;
  std::memcpy(&type, reinterpret_cast<const char*>(value) + device_at - sizeof(void*), sizeof(void*));
  return type;
}

const int8_t* type_and_index(PyObject* device) {
  return reinterpret_cast<const int8_t*>(device) + device_at;
}

PyObject* told(PyObject* self, void* closure) {
  const auto& of = *static_cast<const Wrapped*>(closure);
  PyObject* value = original_value(of, self);
  if (value == nullptr || type_of(value) != type_of(cuda_devices[0])) {
    return value;  // an error, or what a subclass of Tensor answers
  }
  const int8_t* place = type_and_index(value);
  const bool on_chip = place[0] == static_cast<int8_t>(forebay::kChip);
  const int index = place[1];
  if (of.asks_is_cuda) {
    // A mode of torch's (set_default_device) asks again from its own text, and has been told cuda already.
    const bool told_already = place[0] == static_cast<int8_t>(c10::DeviceType::CUDA);
    Py_DecRef(value);
    return PyBool_FromLong(told_already || (on_chip && !asker_knows()));
  }
  if (!on_chip || index >= kMostCards || asker_knows()) {
    return value;
  }
  Py_DecRef(value);
  PyObject* answer = cuda_devices[index < 0 ? kMostCards : index];
  Py_IncRef(answer);
  return answer;
}

// ---- tensor.type(): its answer, and nothing of what it takes

PyObject* original_type;  // TensorBase.type
PyObject* chips_prefix;   // "torch.npu."
PyObject* cuda_prefix;    // "torch.cuda."

PyObject* told_type(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* get = PyObject_GetAttrString(original_type, "__get__");
  PyObject* bound = get ? PyObject_CallFunctionObjArgs(get, self, nullptr) : nullptr;
  PyObject* answer = bound ? PyObject_Call(bound, args, kwargs) : nullptr;
  for (PyObject* one : {get, bound}) {
    if (one != nullptr) {
      Py_DecRef(one);
    }
  }
  if (answer == nullptr || type_of(answer) != type_of(cuda_prefix) || asker_knows()) {
    return answer;
  }
  PyObject* words = PyUnicode_Replace(answer, chips_prefix, cuda_prefix, 1);
  Py_DecRef(answer);
  return words;
}

}  // namespace

extern "C" {

// A method for `type` (torch.Tensor) around `original` that answers "torch.cuda.FloatTensor" for "torch.<chip>.FloatTensor".
PyObject* forebay_type_method(PyObject* type, PyObject* original, PyObject* prefix, PyObject* cuda) {
  for (PyObject* one : {original, prefix, cuda}) {
    Py_IncRef(one);
  }
  original_type = original;
  chips_prefix = prefix;
  cuda_prefix = cuda;
  static PyMethodDef definition = {"type", reinterpret_cast<void*>(&told_type), kVariableAndKeywords, nullptr};
  return PyDescr_NewMethod(type, &definition);
}

// `devices` are 65 torch.device objects: cuda:0 to cuda:63 and cuda. `size` is the size of a plain object. Returns 0, or 1 when
// this torch keeps its devices otherwise.
int forebay_names(PyObject** devices, size_t size, PyObject* table) {
  device_at = size;
  for (int i = 0; i <= kMostCards; ++i) {
    const int8_t* place = type_and_index(devices[i]);
    if (place[0] != static_cast<int8_t>(c10::DeviceType::CUDA) || place[1] != (i == kMostCards ? -1 : i)) {
      return 1;
    }
    Py_IncRef(devices[i]);
    cuda_devices[i] = devices[i];
  }
  name_word = PyUnicode_InternFromString("__name__");
  Py_IncRef(table);
  told_the_truth = table;
  return 0;
}

// A getter for `type` around `original`, the descriptor of a device: it answers the device, or whether it is cuda.
PyObject* forebay_getter(PyObject* type, PyObject* original, PyObject* type_of_original, int asks_is_cuda) {
  Py_IncRef(original);
  auto read = reinterpret_cast<DescriptorGet>(PyType_GetSlot(type_of_original, kDescriptorGet));
  if (read == nullptr) {
    PyErr_Clear();
  }
  auto* closure = new Wrapped{original, read, asks_is_cuda != 0};
  auto* definition = new PyGetSetDef{asks_is_cuda ? "is_cuda" : "device", &told, nullptr, nullptr, closure};  // for ever
  return PyDescr_NewGetSet(type, definition);
}

}  // extern "C"
