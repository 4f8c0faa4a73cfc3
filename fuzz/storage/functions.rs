//! The functions of `beaver:host/storage`, and what they take.
//!
//! What must stay true: every function of the interface is in [`FUNCTIONS`]; a test compares it with
//! the WIT.

/// A function of the interface.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// What an argument is, one letter each, as core numbers: `h` a file's handle, `n` its number, `@` a
    /// place and a length of bytes, `#` of words, `s` of a name, `o` an offset, `l` a length, `i` a
    /// small number, `t` a time, `w` any 64 bits.
    pub(super) takes: &'static str,
    /// Its type in the component's text.
    pub(super) is: &'static str,
    /// Whether it answers with one core number, or with anything in memory.
    pub(super) answers: Answers,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answers {
    Nothing,
    Number,
    InMemory,
}

const fn f(
    name: &'static str,
    takes: &'static str,
    is: &'static str,
    answers: Answers,
) -> Function {
    Function {
        name,
        takes,
        is,
        answers,
    }
}

use Answers::{InMemory, Nothing, Number};

pub(super) const OPEN_FILE: usize = 1;
pub(super) const CLOSE: usize = FUNCTIONS.len();

/// In the order of the WIT: first what takes names.
pub(super) const FUNCTIONS: &[Function] = &[
    f("get-capabilities", "", "(result $capabilities)", Number),
    f(
        "open-file",
        "sii",
        r#"(param "name" string) (param "kind" $kind) (param "how" $flags) (result $file-result)"#,
        InMemory,
    ),
    f(
        "delete-file",
        "si",
        r#"(param "name" string) (param "sync-directory" bool) (result $unit)"#,
        InMemory,
    ),
    f(
        "file-exists",
        "s",
        r#"(param "name" string) (result $bool)"#,
        InMemory,
    ),
    f(
        "shm-lock",
        "niii",
        r#"(param "file" u32) (param "first" u32) (param "count" u32) (param "kind" $shm-kind) (result $shm-answer)"#,
        Number,
    ),
    f(
        "shm-unlock",
        "niii",
        r#"(param "file" u32) (param "first" u32) (param "count" u32) (param "kind" $shm-kind) (result $shm-answer)"#,
        Number,
    ),
    f("sleep", "t", r#"(param "duration" u64)"#, Nothing),
    f("[method]file.number", "h", "(result u32)", Number),
    f("[method]file.is-read-only", "h", "(result bool)", Number),
    f(
        "[method]file.read-at",
        "hol",
        r#"(param "offset" u64) (param "len" u32) (result $bytes)"#,
        InMemory,
    ),
    f(
        "[method]file.read-into",
        "ho@",
        r#"(param "offset" u64) (param "buffer" (list u8)) (result $u32)"#,
        InMemory,
    ),
    f(
        "[method]file.write-at",
        "ho@",
        r#"(param "offset" u64) (param "data" (list u8)) (result $unit)"#,
        InMemory,
    ),
    f("[method]file.size", "h", "(result $u64)", InMemory),
    f(
        "[method]file.truncate",
        "ho",
        r#"(param "size" u64) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.sync",
        "hi",
        r#"(param "kind" $sync) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.lock",
        "hi",
        r#"(param "level" $level) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.unlock",
        "hi",
        r#"(param "level" $level) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.check-reserved",
        "h",
        "(result $bool)",
        InMemory,
    ),
    f(
        "[method]file.shm-map",
        "hii@",
        r#"(param "region" u32) (param "extend" bool) (param "buffer" (list u8)) (result $bool)"#,
        InMemory,
    ),
    f(
        "[method]file.shm-lock-wait",
        "hiiit",
        r#"(param "first" u32) (param "count" u32) (param "kind" $shm-kind) (param "timeout" u64) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.shm-unmap",
        "hi",
        r#"(param "delete" bool) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.claim",
        "hww",
        r#"(param "first" u64) (param "count" u64) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.end-claim",
        "hw",
        r#"(param "token" u64) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.is-claimed",
        "hw",
        r#"(param "token" u64) (result $bool)"#,
        InMemory,
    ),
    f("[method]file.change-token", "h", "(result $u64)", InMemory),
    f(
        "[method]file.watch",
        "hiwiwiw",
        r#"(param "interest" (option $interest)) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.announce",
        "h#",
        r#"(param "topics" (list u64)) (result $unit)"#,
        InMemory,
    ),
    f(
        "[method]file.wait-change",
        "hwt",
        r#"(param "seen" u64) (param "timeout" u64) (result $bool)"#,
        InMemory,
    ),
];

impl Function {
    /// Its core parameters: whether each has 64 bits.
    pub(super) fn core(takes: &str) -> Vec<bool> {
        let each = takes.chars().flat_map(|what| match what {
            '@' | '#' | 's' => vec![false, false],
            'o' | 't' | 'w' => vec![true],
            _ => vec![false],
        });
        each.collect()
    }

    pub(super) fn wit(&self) -> String {
        match self.name.starts_with("[method]") {
            true => format!(r#"(param "self" (borrow $file)) {}"#, self.is),
            false => self.is.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_interface_can_be_called() {
        let wit = include_str!("../../wit/deps/beaver-host/storage.wit");
        let mut named: Vec<String> = Vec::new();
        let mut is_method = false;
        for line in wit.lines() {
            is_method |= line.contains("resource file {");
            if line == "    }" {
                is_method = false;
            }
            if let Some((name, _)) = line.trim().split_once(": func(") {
                named.push(match is_method {
                    true => format!("[method]file.{name}"),
                    false => name.to_owned(),
                });
            }
        }
        let mut known: Vec<_> = FUNCTIONS.iter().map(|it| it.name.to_owned()).collect();
        named.sort();
        known.sort();
        assert_eq!(known, named);
        assert_eq!(FUNCTIONS[OPEN_FILE].name, "open-file");
    }
}
