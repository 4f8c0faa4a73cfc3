//! Reads apt's source lists, in both formats, to learn which mirror of the Debian archive this
//! machine uses. Pure text in, entries out.

/// One archive that the machine's apt knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Source {
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// A keyring file, when the entry names one.
    pub(crate) signed_by: Option<String>,
}

/// Names under which releases of Debian itself are published besides their code names.
const ROLLING_SUITES: [&str; 5] = ["stable", "oldstable", "testing", "unstable", "sid"];

/// Mirrors of the Debian archive among `sources`, the surest first.
///
/// Other vendors' archives look alike (some even use Debian's suite names), so entries that are
/// signed by Debian's own keyring or lie in a folder named `debian` come first; the caller must
/// let apt check the signature in any case.
pub(crate) fn debian_mirrors(sources: &[Source], codename: &str) -> Vec<String> {
    let mut found: Vec<(u8, &str)> = Vec::new();
    for source in sources {
        let is_release =
            |suite: &String| suite == codename || ROLLING_SUITES.contains(&suite.as_str());
        if !source.components.iter().any(|part| part == "main")
            || !source.suites.iter().any(is_release)
        {
            continue;
        }
        for uri in &source.uris {
            let signed_by_debian = source
                .signed_by
                .as_ref()
                .is_some_and(|keyring| keyring.contains("debian-archive"));
            let in_debian_folder = uri.trim_end_matches('/').ends_with("/debian");
            found.push((
                u8::from(!signed_by_debian) + u8::from(!in_debian_folder),
                uri,
            ));
        }
    }
    found.sort_by_key(|(doubt, _)| *doubt);
    let mut mirrors: Vec<String> = Vec::new();
    for (_, uri) in found {
        if !mirrors.iter().any(|mirror| mirror == uri) {
            mirrors.push(uri.to_owned());
        }
    }
    mirrors
}

/// Parses a classic `sources.list`: `deb [options] uri suite components…`.
pub(crate) fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    // `deb-src` names sources, not packages.
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    rest = rest.trim_start();
    let mut source = Source::default();
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        source.signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris.push(words.next()?);
    source.suites.push(words.next()?);
    source.components.extend(words);
    Some(source)
}

/// Parses a deb822 `.sources` file: stanzas of `Field: values`, separated by empty lines.
pub(crate) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza(fields: &[(String, String)]) -> Option<Source> {
    let words = |name: &str| -> Vec<String> {
        fields
            .iter()
            .filter(|(field, _)| field == name)
            .flat_map(|(_, value)| value.split_whitespace())
            .map(str::to_owned)
            .collect()
    };
    let disabled = words("enabled")
        .first()
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0"));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        // The field may also hold the key itself.
        signed_by: words("signed-by")
            .into_iter()
            .next()
            .filter(|value| value.starts_with('/')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_with_comments_and_several_stanzas() {
        let sources = parse_deb822(
            "Types: deb\n\
             # a comment inside the stanza\n\
             URIs: http://mirror.example/debian\n\
             Suites: bookworm bookworm-updates\n\
             Components: main\n\
             Signed-By: /keys/debian-archive-keyring.gpg\n\
             \n\
             types: deb deb-src\n\
             uris: http://mirror.example/debian-security\n\
             suites: bookworm-security\n\
             components: main contrib\n",
        );
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uris, ["http://mirror.example/debian"]);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            sources[0].signed_by.as_deref(),
            Some("/keys/debian-archive-keyring.gpg")
        );
        assert_eq!(sources[1].components, ["main", "contrib"]);
    }

    #[test]
    fn deb822_skips_disabled_and_source_only_stanzas() {
        let text = "Types: deb\nEnabled: no\nURIs: http://a.example\nSuites: x\n\n\
                    Types: deb-src\nURIs: http://b.example\nSuites: x\n";
        assert_eq!(parse_deb822(text), []);
    }

    #[test]
    fn deb822_folds_lines_and_ignores_an_inline_key() {
        let sources = parse_deb822(
            "Types: deb\nURIs: http://a.example\n http://b.example\nSuites: x\n\
             Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
        );
        assert_eq!(sources[0].uris, ["http://a.example", "http://b.example"]);
        assert_eq!(sources[0].signed_by, None);
    }

    #[test]
    fn one_line_format() {
        let sources = parse_one_line(
            "# deb http://commented.example x main\n\
             deb http://mirror.example/debian bookworm main contrib # trailing\n\
             deb-src http://mirror.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] https://vendor.example/apt any main\n\
             deb [ trusted=yes ] file:/srv ./\n",
        );
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[1].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(sources[2].suites, ["./"]);
    }

    #[test]
    fn the_debian_mirror_is_told_from_other_vendors() {
        let text = "deb https://php.example/php bookworm main\n\
                    deb https://node.example nodistro main\n\
                    deb https://docker.example/debian bookworm stable\n\
                    deb http://mirror.example/debian bookworm-security main\n\
                    deb http://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            debian_mirrors(&parse_one_line(text), "bookworm"),
            ["http://mirror.example/debian/", "https://php.example/php"]
        );
    }

    #[test]
    fn an_entry_signed_by_debian_comes_first_and_only_once() {
        let mut sources = parse_one_line("deb http://a.example/debian trixie main\n");
        sources.extend(parse_deb822(
            "Types: deb\nURIs: http://b.example/debian\nSuites: trixie trixie-updates\n\
             Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n",
        ));
        sources.extend(sources.clone());
        assert_eq!(
            debian_mirrors(&sources, "trixie"),
            ["http://b.example/debian", "http://a.example/debian"]
        );
    }
}
