//! The report as one HTML page that needs nothing else.
//!
//! What must stay true:
//! - Texts get into the page through `maud`, which escapes them, or through
//!   [`data::embedded`]; the scripts set them as text, never as markup. Beyond that a content
//!   security policy lets no script run but our own, which is known by its hash.
//! - The page refers to no other resource.
//! - What is needed to understand a verdict is there without the scripts.

mod chart;
mod data;
mod page;
mod program;

use super::Report;
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

const STYLE: &str = concat!(include_str!("page.css"), include_str!("timeline.css"));
/// One script, in the order in which its parts need each other.
const SCRIPT: &str = concat!(
    "\"use strict\";(() => {\n",
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("timeline.js"),
    include_str!("page.js"),
    "})();\n",
);

/// Writes the report as one self-contained HTML page.
///
/// # Errors
/// `into` can't be written to.
pub fn write_html(report: &Report, into: &mut dyn Write) -> io::Result<()> {
    page::write(report, into)
}

/// What the page may load and run: its own styles and its own script.
fn policy() -> String {
    let hash = Base64::encode_string(&Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src data:; \
         base-uri 'none'; form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use serde_json::Value;

    fn written(report: &Report) -> String {
        let mut bytes = Vec::new();
        write_html(report, &mut bytes).unwrap();
        let page = String::from_utf8(bytes).unwrap();
        // For looking at it in a browser.
        if let Some(folder) = std::env::var_os("BEAVER_REPORT_KEEP") {
            let name = std::thread::current()
                .name()
                .unwrap_or("page")
                .replace("::", "-");
            let path = std::path::Path::new(&folder).join(name + ".html");
            std::fs::write(path, &page).unwrap();
        }
        page
    }

    /// The texts of the elements that begin with `open`.
    fn elements<'a>(page: &'a str, open: &str, close: &str) -> Vec<&'a str> {
        let parts = page.split(open).skip(1);
        parts
            .map(|part| part.split(close).next().unwrap())
            .collect()
    }

    fn datas(page: &str) -> Vec<Value> {
        let all = elements(page, "<script type=\"application/json\"", "</script>");
        let all = all.iter().map(|text| text.split_once('>').unwrap().1);
        all.map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    #[test]
    fn the_page_has_each_program_and_what_is_wrong_with_it() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let page = written(&report);
        assert!(page.starts_with("<!DOCTYPE html>"));
        for text in [
            "lost-update",
            "both read 1 and both wrote 2",
            "An increment under a dictionary&#39;s lock",
            "the search was given up after 1,000,000 states",
            "log-delivery",
            "log-follow, clock",
            "did not answer `open`",
            "--workload lost-update --workers 2 --seed 7",
            "3 programs: 1 failed, 1 ended in a harness error, 1 not offered",
            "SQLite 3.40.1",
        ] {
            let text = text.replace("&#39;", "'");
            assert!(page.contains(&text), "{text} is missing");
        }
        let data = datas(&page);
        assert_eq!(data.len(), 1);
        assert_eq!(data[0]["operations"]["id"].as_array().unwrap().len(), 17);
    }

    #[test]
    fn the_page_stands_alone() {
        let page = written(&fixture::suite(vec![(
            "lost-update",
            fixture::lost_update(),
        )]));
        for outside in [
            " src=",
            "@import",
            "url(",
            "http:",
            "https:",
            "<link rel=\"stylesheet",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        // What the policy lets run is the script that is there.
        let script = elements(&page, "<script>", "</script>");
        assert_eq!(script, [SCRIPT]);
        let hash = Base64::encode_string(&Sha256::digest(script[0]));
        assert!(page.contains(&format!("'sha256-{hash}'")));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("insertAdjacentHTML"));
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }

    #[test]
    fn hostile_text_stays_text() {
        let page = written(&fixture::hostile());
        let data = datas(&page);
        let strings = data[0]["strings"].as_array().unwrap();
        assert!(
            strings
                .iter()
                .any(|text| text.as_str().unwrap().contains("</script><script>"))
        );
        // Outside of what is ours, no markup of the driver's: neither as elements nor as attributes.
        let open = page.matches("<script").count();
        assert_eq!(open, 2, "ours and its data");
        assert_eq!(page.matches("</script").count(), 2);
        assert!(!page.contains("<img"));
        assert!(
            !page.contains("' onmouseover='alert(3)' \""),
            "a quote stands in the clear"
        );
        assert!(!page.contains("<!-- ]]>"));
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        let (shown, _) = page.split_once("<script").unwrap();
        assert!(!shown.contains(steers), "something unseen is in the page");
        for tag in elements(&page, "<", ">") {
            assert!(!tag.contains("alert("), "{tag}");
        }
    }

    #[test]
    fn a_hundred_thousand_operations_of_64_workers_fit() {
        let run = fixture::many(64, 100_000, 7);
        assert_eq!(run.history.operations.len(), 100_000);
        let page = written(&fixture::suite(vec![
            ("many", run),
            ("lost-update", fixture::lost_update()),
        ]));
        assert!(page.len() < 12_000_000, "{}", page.len());
        assert_eq!(
            datas(&page)[0]["operations"]["id"]
                .as_array()
                .unwrap()
                .len(),
            100_000
        );
    }

    #[test]
    fn what_is_left_out_is_said() {
        let run = fixture::many(16, 120_000, 7);
        let page = written(&fixture::suite(vec![("many", run)]));
        assert!(
            page.contains("operations are left out"),
            "no word of what is left out"
        );
        let data = &datas(&page)[0];
        let gaps = data["gaps"].as_array().unwrap();
        let gone: u64 = gaps.iter().map(|gap| gap[2].as_u64().unwrap()).sum();
        let shown = data["operations"]["id"].as_array().unwrap().len() as u64;
        assert_eq!(gone + shown, 120_000);
    }
}
