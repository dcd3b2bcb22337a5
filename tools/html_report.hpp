#pragma once

#include "eval_report.hpp"  // under its former name
