//! The integration tests: real usherd and usher, a module per behaviour.
