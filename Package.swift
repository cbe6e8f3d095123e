// swift-tools-version: 6.0
import PackageDescription

let swiftSettings: [SwiftSetting] = [
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

func library(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
  .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

let package = Package(
  name: "Weft",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Weft", targets: ["Weft"]),
    .executable(name: "weft", targets: ["WeftCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
  ],
  targets: [
    // System libraries and C, at the bottom.
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
    .systemLibrary(
      name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .target(name: "CWeftVectorMath"),

    // Values and loops: no graph is known here.
    library("WeftTensors", []),
    library("WeftKernels", ["WeftTensors", "CWeftVectorMath", "COpenBLAS"]),

    // Graphs, ops, files.
    library(
      "WeftGraph",
      ["WeftTensors", .product(name: "OrderedCollections", package: "swift-collections")]),
    library("WeftOps", ["WeftGraph", "WeftKernels"]),
    library(
      "WeftFormats",
      [
        "WeftGraph", "WeftTensors", "CZlib",
        .product(name: "OrderedCollections", package: "swift-collections"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["Protos"]),

    // From graph to plan to run.
    library("WeftCompiler", ["WeftOps", "WeftKernels"]),
    library("WeftRuntime", ["WeftCompiler"]),

    // What users build with.
    library(
      "WeftNN",
      [
        "WeftOps", "WeftGraph", "WeftKernels", "WeftTensors",
        .product(name: "OrderedCollections", package: "swift-collections"),
      ]),
    library("WeftTraining", ["WeftNN", "WeftRuntime", "WeftFormats"]),
    library("Weft", ["WeftTraining", "WeftKernels"]),
    .executableTarget(
      name: "WeftCLI",
      dependencies: [
        "Weft", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings),

    // Examples, built and run by tests.
    .executableTarget(
      name: "tang-poetry",
      dependencies: [
        "Weft", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Examples/tang-poetry", swiftSettings: swiftSettings),
    .executableTarget(
      name: "benchmark",
      dependencies: [
        "Weft", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Examples/benchmark", swiftSettings: swiftSettings),

    // Tests mirror Sources.
    .target(
      name: "TestSupport", dependencies: ["WeftRuntime", "WeftFormats"], path: "Tests/TestSupport",
      swiftSettings: swiftSettings),
    tests("CWeftVectorMathTests", ["CWeftVectorMath"]),
    tests(
      "WeftFormatsTests",
      [
        "WeftFormats", "WeftGraph", "WeftTensors",
        .product(name: "OrderedCollections", package: "swift-collections"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ]),
    tests(
      "WeftOpsTests", ["TestSupport", "WeftRuntime", "WeftGraph", "WeftOps", "WeftTensors"]),
    tests(
      "WeftTrainingTests",
      ["WeftTraining", "WeftRuntime", "WeftFormats", "WeftGraph", "WeftOps", "WeftTensors"]),
    tests(
      "WeftRuntimeTests",
      [
        "TestSupport", "WeftRuntime", "WeftCompiler", "WeftFormats", "WeftGraph", "WeftOps",
        "WeftTensors",
      ]),
    tests(
      "WeftNNTests",
      [
        "WeftNN", "WeftRuntime", "WeftCompiler", "WeftFormats", "WeftGraph", "WeftOps",
        "WeftTensors",
        .product(name: "OrderedCollections", package: "swift-collections"),
      ]),
    tests("WeftCLITests", ["Weft", "WeftCLI"]),
  ],
  cLanguageStandard: .c11
)
