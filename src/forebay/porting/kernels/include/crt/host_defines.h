#pragma once
#include <forebay/device.h>
