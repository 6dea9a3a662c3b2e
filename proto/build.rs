//! Generates the contract's code from `usher/v1/*.proto`, without protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=usher");
    let descriptors = protox::compile(
        ["usher/v1/token.proto", "usher/v1/admin.proto", "usher/v1/credential.proto"],
        ["."],
    )?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("usher.v1.descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // These carry tokens: src/redacted.rs writes their Debug by hand.
        .skip_debug(["usher.v1.GetTokenResponse", "usher.v1.Credential", "usher.v1.EraseCredentialRequest"])
        .compile_fds(descriptors)?;
    Ok(())
}
