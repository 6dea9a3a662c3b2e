//! `usher man`: the manual pages, made of the definitions of the command line.

use std::{io, path::Path};

use clap::CommandFactory as _;

use crate::{
    args::{Args, Man},
    caller::Caller,
    error::Error,
    exit,
};

pub(super) fn run(args: &Man, caller: &mut Caller<'_>) -> Result<u8, Error> {
    if let Some(dir) = &args.dir {
        write(dir).map_err(Error::Output)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).render(&mut page).map_err(Error::Output)?;
        caller.answer(&String::from_utf8_lossy(&page))?;
    }
    Ok(exit::OK)
}

fn write(dir: &Path) -> io::Result<()> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(told)?;
    clap_mangen::generate_to(Args::command(), dir).map_err(told)
}
