//! Rust as far as the laws need it: code without comments and strings, the paths it names, its
//! functions and how long they are. Called by `tidy` and `floors`; knows no law.

/// The same text with every comment, string and character blanked; lines stay where they were.
pub(crate) fn blank(text: &str) -> String {
    let mut blanker = Blanker { chars: text.chars().collect(), at: 0, out: String::with_capacity(text.len()) };
    while blanker.at < blanker.chars.len() {
        blanker.step();
    }
    blanker.out
}

struct Blanker {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Blanker {
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.blank_while(|c| c != '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (c, _) if is_word(c) => self.word(),
            _ => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        self.out.push(self.peek(0));
        self.at += 1;
    }

    fn skip(&mut self) {
        self.out.push(if self.peek(0) == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    fn blank_while(&mut self, more: impl Fn(char) -> bool) {
        while self.at < self.chars.len() && more(self.peek(0)) {
            self.skip();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            let change = match (self.peek(0), self.peek(1)) {
                ('/', '*') => 1,
                ('*', '/') => -1,
                _ => 0,
            };
            depth += change;
            self.skip();
            if change != 0 {
                self.skip();
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.skip();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.skip();
            }
            self.skip();
        }
        self.skip();
    }

    /// A character, or a lifetime, which stays.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            (0..3).for_each(|_| self.skip());
            self.blank_while(|c| c != '\'');
            self.skip();
        } else if self.peek(2) == '\'' {
            (0..3).for_each(|_| self.skip());
        } else {
            self.keep();
        }
    }

    /// A word, or the prefix of a literal: `b"`, `br#"`, `b'`, `r"`.
    fn word(&mut self) {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.keep();
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let is_prefix = matches!(word.as_str(), "b" | "c" | "r" | "br" | "cr");
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        if !is_prefix || self.peek(hashes) != '"' || (hashes > 0 && !word.contains('r')) {
            return;
        }
        if !word.contains('r') {
            return self.string();
        }
        (0..=hashes).for_each(|_| self.skip());
        let is_end = |blanker: &Self| blanker.peek(0) == '"' && (1..=hashes).all(|ahead| blanker.peek(ahead) == '#');
        while self.at < self.chars.len() && !is_end(self) {
            self.skip();
        }
        (0..=hashes).for_each(|_| self.skip());
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanked code as words and single signs, each with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut joins = false;
    for (number, line) in code.lines().enumerate() {
        for c in line.chars().chain(std::iter::once('\n')) {
            match tokens.last_mut() {
                Some(last) if joins && is_word(c) => last.text.push(c),
                _ if c.is_whitespace() => {}
                _ => tokens.push(Token { text: c.to_string(), line: number + 1 }),
            }
            joins = is_word(c);
        }
    }
    tokens
}

/// Without the modules, functions and imports that stand under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_at(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = item_end(tokens, at + 7);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_at(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    texts.iter().enumerate().all(|(ahead, text)| text_at(tokens, at + ahead) == *text)
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// After the `;` or the closing brace of the item that starts at `at`.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_i32;
    for (ahead, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), ";" | "}") {
            return ahead + 1;
        }
    }
    tokens.len()
}

/// A function and the lines from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) length: usize,
}

pub(crate) fn functions(tokens: &[Token]) -> Vec<Function> {
    let is_name = |text: &str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let starts = (0..tokens.len()).filter(|at| tokens[*at].text == "fn" && is_name(text_at(tokens, at + 1)));
    let whole = starts.map(|at| {
        let last = item_end(tokens, at).saturating_sub(1);
        Function {
            name: tokens[at + 1].text.clone(),
            line: tokens[at].line,
            length: tokens[last].line - tokens[at].line + 1,
        }
    });
    whole.collect()
}

/// Words that may stand right before a path.
const KEYWORDS: &[&str] = &["as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return", "where", "while"];

/// A path of at least two words as it is written, or the whole of one that a `use` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) words: Vec<String>,
    pub(crate) line: usize,
}

pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = tree(tokens, at + 1, &[], &mut found);
            continue;
        }
        if is_word_token(tokens, at) && !KEYWORDS.contains(&text_at(tokens, at)) && !continues_path(tokens, at) {
            let mut words = vec![tokens[at].text.clone()];
            let line = tokens[at].line;
            while is_at(tokens, at + 1, &[":", ":"]) && is_word_token(tokens, at + 3) {
                words.push(tokens[at + 3].text.clone());
                at += 3;
            }
            if words.len() > 1 {
                found.push(Path { words, line });
            }
        }
        at += 1;
    }
    found
}

/// Whether the word comes after `x::` or `<X>::`, and not after a bare `::`.
fn continues_path(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(3) else { return false };
    let word = text_at(tokens, before);
    is_at(tokens, before + 1, &[":", ":"]) && (word == ">" || (word.starts_with(is_word) && !KEYWORDS.contains(&word)))
}

fn is_word_token(tokens: &[Token], at: usize) -> bool {
    text_at(tokens, at).starts_with(is_word)
}

/// One branch of a `use` tree, and what follows it.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut words = before.to_vec();
    loop {
        match text_at(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text_at(tokens, at), "}" | "") {
                    at = tree(tokens, at, &words, found);
                    if text_at(tokens, at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            ":" => at += 1,
            "as" => at += 2,
            "*" => at += 1,
            "," | ";" | "}" | "" => {
                found.push(Path { words, line });
                return at;
            }
            "self" if words.len() > before.len() || !before.is_empty() => at += 1,
            word => {
                words.push(word.to_owned());
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_lines_kept() {
        let text = "a /* x /* y */ z\n */ b // c\n\"q\\\"{\" r#\"s\"t\"# 'c' '\\'' b'{' 'a: &'a str br\"\\\" d";
        let code = blank(text);
        assert_eq!(code.lines().count(), text.lines().count());
        let words: Vec<_> = tokens(&code).into_iter().map(|token| token.text).collect();
        assert_eq!(words, ["a", "b", "r", "b", "'", "a", ":", "&", "'", "a", "str", "br", "d"]);
    }

    #[track_caller]
    fn check_paths(code: &str, expected: &[&str]) {
        let found: Vec<_> = paths(&tokens(&blank(code))).into_iter().map(|path| path.words.join("::")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_path_is_found() {
        check_paths(
            "use crate::a::{self, b::{C, D as E}, f};",
            &["crate::a", "crate::a::b::C", "crate::a::b::D", "crate::a::f"],
        );
        check_paths(
            "pub(crate) use super::x::*; fn f() { crate::y::z(std::fs::read) }",
            &["super::x", "crate::y::z", "std::fs::read"],
        );
        check_paths("let x = <T as ::agent::Z>::new(); a::<u8>(); b :: c", &["agent::Z", "b::c"]);
        check_paths("// use crate::a;\nlet s = \"crate::b::c\";", &[]);
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let code =
            "trait T { fn a(&self) -> [u8; 2]; }\nfn b()\nwhere\n    T: U,\n{\n    if x { y }\n}\nlet f: fn(u8);";
        let found: Vec<_> = functions(&tokens(code)).into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("a".to_owned(), 1, 1), ("b".to_owned(), 2, 6)]);
    }

    #[test]
    fn what_is_for_tests_alone_is_left_out() {
        let code = "#[cfg(test)]\nuse a::b;\n#[cfg(test)]\nmod tests { use c::d; }\n#[cfg(test)]\nmod more;\nuse e::f;";
        let found: Vec<_> =
            paths(&without_tests(&tokens(code))).into_iter().map(|path| path.words.join("::")).collect();
        assert_eq!(found, ["e::f"]);
    }
}
