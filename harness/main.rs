//! `beaver-harness serve component|native`: one of our own builds as a driver process.

use anyhow::bail;
use beaver_harness::driver::serve;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let words = (arguments.next(), arguments.next());
    let words = (
        words.0.as_deref().and_then(|word| word.to_str()),
        words.1.as_deref().and_then(|word| word.to_str()),
    );
    match words {
        #[cfg(feature = "component")]
        (Some("serve"), Some("component")) => {
            let component = arguments.next().map(Into::into);
            serve::serve(&beaver_harness::driver::ComponentDriver::new(component))
        }
        #[cfg(feature = "native")]
        (Some("serve"), Some("native")) => serve::serve(&beaver_harness::driver::NativeDriver),
        _ => bail!("usage: beaver-harness serve component [FILE] | serve native"),
    }
}
