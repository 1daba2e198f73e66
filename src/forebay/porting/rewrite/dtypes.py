"""The number formats behind torch's legacy tensor types: torch.cuda.HalfTensor is float16 on a card."""

from collections.abc import Mapping

DTYPES: Mapping[str, str] = {
    "FloatTensor": "float32",
    "HalfTensor": "float16",
    "DoubleTensor": "float64",
    "BFloat16Tensor": "bfloat16",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "ShortTensor": "int16",
    "CharTensor": "int8",
    "ByteTensor": "uint8",
    "BoolTensor": "bool",
}
