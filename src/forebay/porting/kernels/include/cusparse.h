// Often included and not used. A call of the library is refused by name (rules.py).
#pragma once
#include <forebay/device.h>
