//! One command of PowerShell. A value stands in single quotes, where nothing is expanded, and what would
//! end them is doubled; PowerShell takes four typographic quotes for single ones, too.

use std::fmt::Write as _;

/// A cmdlet with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    line: String,
}

impl Command {
    /// A cmdlet, by its name.
    pub(crate) fn new(cmdlet: &'static str) -> Self {
        Self { line: cmdlet.to_owned() }
    }

    /// The same with a text.
    pub(crate) fn text(mut self, parameter: &'static str, value: &str) -> Self {
        let _ = write!(self.line, " -{parameter} {}", quoted(value));
        self
    }

    /// The same with several.
    pub(crate) fn texts(mut self, parameter: &'static str, values: &[String]) -> Self {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let _ = write!(self.line, " -{parameter} {}", values.join(","));
        self
    }

    /// The same with a text that is added to those that are there.
    pub(crate) fn adds(mut self, parameter: &'static str, value: &str) -> Self {
        let _ = write!(self.line, " -{parameter} @{{Add={}}}", quoted(value));
        self
    }

    /// The same with a number or a word of PowerShell's own.
    pub(crate) fn word(mut self, parameter: &'static str, value: impl std::fmt::Display) -> Self {
        let _ = write!(self.line, " -{parameter} {value}");
        self
    }

    /// The same with `$true` or `$false`.
    pub(crate) fn flag(self, parameter: &'static str, is: bool) -> Self {
        self.word(parameter, if is { "$true" } else { "$false" })
    }

    /// The same with what comes behind it.
    pub(crate) fn then(mut self, rest: &'static str) -> Self {
        let _ = write!(self.line, " {rest}");
        self
    }

    /// The line to type.
    pub(crate) fn line(self) -> String {
        self.line
    }
}

/// A text in single quotes. Control characters, which would end the line, become spaces.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => {
                quoted.extend([character, character]);
            }
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_quotes_variables_or_a_line_end_stays_one_value() {
        for (text, line) in [
            ("o'brien@contoso.com", "Get-X -Y 'o''brien@contoso.com'"),
            ("a\u{2019}; Remove-Y", "Get-X -Y 'a\u{2019}\u{2019}; Remove-Y'"),
            ("$(whoami) `n \"x\"", "Get-X -Y '$(whoami) `n \"x\"'"),
            ("a\r\nRemove-Y", "Get-X -Y 'a  Remove-Y'"),
            ("", "Get-X -Y ''"),
        ] {
            assert_eq!(Command::new("Get-X").text("Y", text).line(), line);
        }
        let several = ["a".to_owned(), "b'c".to_owned()];
        assert_eq!(Command::new("Get-X").texts("Y", &several).line(), "Get-X -Y 'a','b''c'");
        assert_eq!(Command::new("Get-X").adds("Y", "a").line(), "Get-X -Y @{Add='a'}");
    }
}
