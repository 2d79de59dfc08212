//! Writes the corpus of every target into folders of a folder: `cargo run --example corpus FOLDER`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).expect("usage: corpus FOLDER"));
    for (name, _) in icws_fuzz::targets::ALL {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in icws_fuzz::corpus::seeds(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), seed)?;
        }
        println!("{name}");
    }
    Ok(())
}
