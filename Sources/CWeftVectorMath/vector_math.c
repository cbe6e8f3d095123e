#include "CWeftVectorMath.h"
