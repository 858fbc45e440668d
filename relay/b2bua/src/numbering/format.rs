//! A number in E.164 as a trunk wants to have it.

use super::{Country, is_e164};

/// How a trunk is told numbers: its key `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFormat {
    /// `+493012345`.
    E164,
    /// `493012345`.
    Plain,
    /// `00493012345`.
    International,
    /// `03012345` in Germany, and all others as international ones.
    National,
}

impl NumberFormat {
    /// As in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::E164 => "e164",
            Self::Plain => "plain",
            Self::International => "international",
            Self::National => "national",
        }
    }

    /// Whether it depends on where the trunk is.
    pub const fn needs_country(self) -> bool {
        matches!(self, Self::International | Self::National)
    }

    /// `number` so; `None` where it stays as it is, as all but whole numbers in E.164 do. What is
    /// written means the same number when it is dialled in `country`.
    pub fn write(self, country: Option<&Country>, number: &str) -> Option<String> {
        let digits = number.strip_prefix('+').filter(|_| is_e164(number))?;
        match self {
            Self::E164 => None,
            Self::Plain => Some(digits.to_owned()),
            Self::International => country?.international(number, digits),
            Self::National => {
                let country = country?;
                country.national(number, digits).or_else(|| country.international(number, digits))
            }
        }
    }
}

impl Country {
    fn international(&self, number: &str, digits: &str) -> Option<String> {
        // Inside the North American plan nothing but its 1 is dialled, to another country as well.
        let prefix = match self.is_north_american() && digits.starts_with(self.code) {
            true => "",
            false => self.international.first()?,
        };
        self.meant(number, format!("{prefix}{digits}"))
    }

    fn national(&self, number: &str, digits: &str) -> Option<String> {
        let national = digits.strip_prefix(self.code).filter(|rest| self.is_national(rest))?;
        let prefix = self.trunk.first().filter(|_| !self.is_north_american()).unwrap_or(&"");
        self.meant(number, format!("{prefix}{national}"))
    }

    /// `dialled`, if it means `number` here.
    fn meant(&self, number: &str, dialled: String) -> Option<String> {
        (self.normalise(&dialled).as_deref() == Some(number)).then_some(dialled)
    }
}
