//! Holds the shape of the source text: no file imports itself through others, functions and lines
//! stay short, a type name stands for one thing.
//!
//! The source is read as text: comments and strings are taken out, then paths are followed from the
//! module that names them to the file that they lead to. What a macro expands to is not seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use super::architecture::{code, is_test, relative, rust_files, sources};

/// Longest line of Rust, in characters.
const COLUMNS_MAX: usize = 120;
/// Longest line of a comment, in characters, its indentation included.
const COMMENT_COLUMNS_MAX: usize = 100;
/// Lines of a function at the most, its signature included.
const FUNCTION_LINES_MAX: usize = 70;

/// Production files by the path of their module, as in `core::time`.
fn modules() -> BTreeMap<String, PathBuf> {
    let of = |path: &PathBuf| {
        let name = relative(path);
        name.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::")
    };
    sources()
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| (of(&path), path))
        .filter(|(module, _)| module != "main" && module != "lib")
        .collect()
}

/// Code without string literals, so that no text is taken for a path.
fn without_strings(code: &str) -> String {
    let mut out = String::new();
    let mut characters = code.chars().peekable();
    let mut within = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if within => {
                characters.next();
            }
            // The character literal '"'.
            '\'' if !within && characters.peek() == Some(&'"') => {
                characters.next();
            }
            '"' => within = !within,
            _ if within => {}
            other => out.push(other),
        }
    }
    out
}

/// The paths that a `use` names, with its braces expanded.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim().to_owned()];
    };
    let (prefix, rest) = tree.split_at(open);
    let inner = rest.trim_start_matches('{').trim_end().trim_end_matches('}');
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for character in inner.chars() {
        match character {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            other => {
                depth += i32::from(other == '{') - i32::from(other == '}');
                part.push(other);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{prefix}{part}"))).collect()
}

/// The paths that stand in code outside of `use` declarations, and those that these name.
fn paths(code: &str) -> Vec<String> {
    let code = without_strings(code);
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        // A visibility such as `pub(in crate::app)` imports nothing.
        let line = match line.trim_start().strip_prefix("pub(in ") {
            Some(rest) => rest.split_once(')').map_or(rest, |(_, rest)| rest),
            None => line,
        };
        let declared = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let Some(tree) = declared.trim_start_matches("pub ").strip_prefix("use ") else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().unwrap_or(";"));
        }
        let named = expand(tree.split(';').next().unwrap_or_default());
        // An indented declaration stands in a module within this file, whose `super` is the file.
        let is_within = line.starts_with(' ');
        found.extend(named.into_iter().map(|path| match path.strip_prefix("super::") {
            Some(rest) if is_within => format!("self::{rest}"),
            Some(_) | None => path,
        }));
    }
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
    found.extend(rest.split(|character| !is_part(character)).filter(|word| word.contains("::")).map(str::to_owned));
    found
}

/// The module that a path leads to, seen from `module`: the longest one that exists.
fn target(module: &str, path: &str, modules: &BTreeMap<String, PathBuf>) -> Option<String> {
    let own: Vec<&str> = module.split("::").collect();
    let mut segments: Vec<&str> = path.split("::").filter(|segment| !segment.is_empty()).collect();
    let mut absolute: Vec<&str> = match segments.first()? {
        &"crate" => Vec::new(),
        &"self" => own.clone(),
        &"super" => own[..own.len() - 1].to_vec(),
        // A child of this module, or nothing of ours.
        child if modules.contains_key(&format!("{module}::{child}")) => own.clone(),
        _ => return None,
    };
    if matches!(segments[0], "crate" | "self" | "super") {
        segments.remove(0);
    }
    while segments.first() == Some(&"super") {
        absolute.pop();
        segments.remove(0);
    }
    absolute.extend(segments);
    (1..=absolute.len()).rev().map(|length| absolute[..length].join("::")).find(|path| modules.contains_key(path))
}

/// Which module imports which.
fn imports() -> HashMap<String, BTreeSet<String>> {
    let modules = modules();
    let found = modules.iter().map(|(module, path)| {
        let targets = paths(&code(path)).iter().filter_map(|path| target(module, path, &modules)).collect();
        (module.clone(), targets)
    });
    let mut imports: HashMap<String, BTreeSet<String>> = found.collect();
    imports.iter_mut().for_each(|(module, targets)| {
        targets.remove(module);
    });
    imports
}

/// The modules that one can reach from `module` by imports.
fn reach(module: &str, imports: &HashMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![module.to_owned()]);
    while let Some(next) = open.pop() {
        for target in imports.get(&next).into_iter().flatten() {
            if reached.insert(target.clone()) {
                open.push(target.clone());
            }
        }
    }
    reached
}

#[test]
fn no_file_imports_itself_through_others() {
    let imports = imports();
    let reached: HashMap<&String, BTreeSet<String>> =
        imports.keys().map(|module| (module, reach(module, &imports))).collect();
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > 500, "imports were found: {edges}");
    let mut wrong: Vec<String> = imports
        .iter()
        .flat_map(|(module, targets)| targets.iter().map(move |target| (module, target)))
        .filter(|(module, target)| reached.get(target).is_some_and(|reached| reached.contains(*module)))
        .map(|(module, target)| format!("{module} -> {target}"))
        .collect();
    wrong.sort();
    assert!(wrong.is_empty(), "these imports close a circle: {wrong:#?}");
}

#[test]
fn a_circle_is_found_where_there_is_one() {
    let modules: BTreeMap<String, PathBuf> =
        ["a", "a::b", "c::d"].map(|module| (module.to_owned(), PathBuf::new())).into();
    let target = |module: &str, path: &str| target(module, path, &modules);
    assert_eq!(target("a", "b::Thing"), Some("a::b".to_owned()));
    assert_eq!(target("a::b", "super::Thing"), Some("a".to_owned()));
    assert_eq!(target("a::b", "crate::c::d::Thing::new"), Some("c::d".to_owned()));
    assert_eq!(target("a::b", "std::fmt"), None);
    let named = paths("pub use crate::a::{self, b::{Thing, Other as Name}};\nlet x = super::y(\"crate::c::d\");");
    assert_eq!(named, ["crate::a::self", "crate::a::b::Thing", "crate::a::b::Other", "super::y"]);
}

#[test]
fn lines_are_short() {
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            // A row of a table and a URL cannot be wrapped.
            let cannot_wrap = is_comment && (line.contains(" | ") || line.contains("://"));
            let most = if is_comment && !cannot_wrap { COMMENT_COLUMNS_MAX } else { COLUMNS_MAX };
            if line.chars().count() > most {
                wrong.push(format!("{}:{}: {} columns", relative(&path), index + 1, line.chars().count()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(path).unwrap();
        let tests = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(crate) mod "];
        let end = tests.iter().filter_map(|tests| text.find(tests)).min().unwrap_or(text.len());
        let production = &text[..end];
        let lines: Vec<&str> = production.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.trim_start().split(" fn ").next().is_some_and(|before| {
                before.len() < line.trim_start().len()
                    && before.split(' ').all(|word| {
                        matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"")
                            || word.starts_with("pub(")
                    })
            }) || line.trim_start().starts_with("fn ");
            if !is_function {
                continue;
            }
            let end = lines[start..].iter().position(|line| *line == format!("{}}}", " ".repeat(indent)));
            if let Some(length) = end.map(|end| end + 1).filter(|length| *length > FUNCTION_LINES_MAX) {
                wrong.push(format!("{}:{}: {length} lines", relative(path), start + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        // What is indented is an associated type, or within a macro.
        for line in code(path).lines().filter(|line| !line.starts_with(' ')) {
            let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with("pub")).collect();
            if let [kind, name, ..] = words[..]
                && matches!(kind, "struct" | "enum" | "trait" | "type")
            {
                let end = name.find(|character: char| !character.is_alphanumeric()).unwrap_or(name.len());
                places.entry(name[..end].to_owned()).or_default().push(relative(path));
            }
        }
    }
    let wrong: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
