// The umbrella: one import for all that users of the library need.

@_exported public import OrderedCollections
@_exported public import WeftCompiler
@_exported public import WeftFormats
@_exported public import WeftGraph
@_exported public import WeftNN
@_exported public import WeftOps
@_exported public import WeftRuntime
@_exported public import WeftTensors
@_exported public import WeftTraining

@_exported public import struct WeftKernels.BlasLibrary
@_exported public import enum WeftKernels.MachineProbe
