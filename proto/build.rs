//! Compiles the .proto files with `protox`, so that no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 5] = [
    "catchment/v1/device.proto",
    "catchment/v1/ingest.proto",
    "catchment/v1/query.proto",
    "catchment/v1/fleet.proto",
    "catchment/v1/maintenance.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For server reflection; `compile_fds` does not write it.
    fs::write(out.join("catchment.bin"), compiler.encode_file_descriptor_set())?;
    let mut config = prost_build::Config::new();
    // Used as a map key; prost derives these traits only for messages without repeated fields.
    config.type_attribute(".catchment.v1.SeriesRef", "#[derive(Eq, Hash)]");
    let shared = ["Batch.bodies", "BackupChunk.content", "RevocationPart.content", "RevocationLists"];
    config.bytes(shared.map(|field| format!(".catchment.v1.{field}"))).btree_map(["."]);
    tonic_prost_build::configure().compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
