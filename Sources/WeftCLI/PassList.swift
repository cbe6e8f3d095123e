// Which optional passes of the compiler run.

import ArgumentParser
import Weft

/// Names of optional passes, separated by commas, or `none`.
struct PassList: ExpressibleByArgument {
  /// The passes that are left out.
  let disabled: Set<String>

  init?(argument: String) {
    let kept = argument == "none" ? [] : argument.split(separator: ",").map(String.init)
    guard kept.allSatisfy({ optionalPasses.contains($0) }) else { return nil }
    disabled = Set(optionalPasses).subtracting(kept)
  }

  /// What an option of this type says of itself.
  static let help: ArgumentHelp = ArgumentHelp(
    "Only these optional passes of \(optionalPasses.joined(separator: ", ")); or none.",
    valueName: "LIST")
}
