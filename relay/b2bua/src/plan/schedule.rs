//! `when` of a route: days, dates and times of day, in a time zone.
//!
//! What counts is what a clock on the wall there shows. When clocks go back an hour is there twice, and a
//! window in it holds twice; when they go forward one is skipped, and so is a window in it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// When a route holds: in one of its spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whose clock counts.
    pub timezone: TimeZone,
    /// Any of these.
    pub spans: Box<[Span]>,
}

impl Schedule {
    /// Whether it holds when a clock there shows `local`.
    pub fn holds(&self, local: DateTime) -> bool {
        self.spans.iter().any(|span| span.holds(local))
    }

    /// What a clock there shows.
    pub fn local(&self, at: SystemTime) -> DateTime {
        local(&self.timezone, at)
    }
}

/// What a clock in this zone shows.
pub fn local(timezone: &TimeZone, at: SystemTime) -> DateTime {
    // Beyond the year 9999 no clock of ours will go.
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    timezone.to_datetime(at)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, span) in self.spans.iter().enumerate() {
            write!(f, "{}{span}", if index == 0 { "" } else { ", " })?;
        }
        match self.timezone.iana_name() {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// `mon-fri 08:00-18:00`, `2026-12-24`, `12-25`: days or dates, and times of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    days: Days,
    /// Minutes of the day: from, and up to; a window that ends before it begins crosses midnight and
    /// belongs to the day it begins on.
    from: u16,
    until: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Days {
    /// A bit for each day of the week, Monday first.
    Week(u8),
    /// From one date to another, both included.
    Dates(Date, Date),
    /// From a month and day to another of every year, both included; may cross the new year.
    Yearly((i8, i8), (i8, i8)),
}

const EVERY_DAY: u8 = 0x7f;
const DAY_MINUTES: u16 = 24 * 60;
const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Span {
    /// Whether it holds when a clock shows `local`.
    pub fn holds(self, local: DateTime) -> bool {
        let minute =
            u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = local.date();
        if self.from < self.until {
            return self.days.hold(today) && (self.from..self.until).contains(&minute);
        }
        minute >= self.from && self.days.hold(today)
            || minute < self.until && today.yesterday().is_ok_and(|before| self.days.hold(before))
    }
}

impl Days {
    fn hold(self, date: Date) -> bool {
        match self {
            Self::Week(days) => {
                days & (1 << date.weekday().to_monday_zero_offset().unsigned_abs()) != 0
            }
            Self::Dates(first, last) => (first..=last).contains(&date),
            Self::Yearly(first, last) => {
                let day = (date.month(), date.day());
                if first <= last {
                    (first..=last).contains(&day)
                } else {
                    day >= first || day <= last
                }
            }
        }
    }
}

/// Why a text is no span: `said` completes the sentence that begins with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NoSpan {
    /// What is wrong.
    pub said: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

fn wrong(said: impl Into<String>, hint: impl Into<String>) -> NoSpan {
    NoSpan { said: said.into(), hint: Some(hint.into()) }
}

fn nonsense() -> NoSpan {
    let hint = "times are \"mon-fri 08:00-18:00\", \"sat,sun\", \"22:00-06:00\", \"2026-12-24\", \
                \"2026-12-24..2027-01-06\", or \"12-25\" for every year";
    wrong("is no day, date or time of day", hint)
}

impl FromStr for Span {
    type Err = NoSpan;
    fn from_str(written: &str) -> Result<Self, NoSpan> {
        let mut words = written.split_whitespace();
        let first = words.next().ok_or_else(nonsense)?;
        let (days, times) = match (first.contains(':'), words.next()) {
            (true, None) => (None, Some(first)),
            (true, Some(_)) => {
                return Err(wrong("has the time before the day", "\"mon-fri 08:00-18:00\""));
            }
            (false, times) => (Some(first), times),
        };
        if words.next().is_some() {
            return Err(nonsense());
        }
        let days = days.map_or(Ok(Days::Week(EVERY_DAY)), Days::read)?;
        let (from, until) = times.map_or(Ok((0, DAY_MINUTES)), window)?;
        Ok(Self { days, from, until })
    }
}

impl Days {
    fn read(written: &str) -> Result<Self, NoSpan> {
        if written.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return week(&written.to_ascii_lowercase()).map(Self::Week);
        }
        let (first, last) = written.split_once("..").unwrap_or((written, written));
        if let (Some(first), Some(last)) = (yearly(first), yearly(last)) {
            return Ok(Self::Yearly(first, last));
        }
        let (Some(first), Some(last)) = (date(first), date(last)) else { return Err(nonsense()) };
        match first <= last {
            true => Ok(Self::Dates(first, last)),
            false => {
                Err(wrong("ends before it begins", format!("did you mean \"{last}..{first}\"?")))
            }
        }
    }
}

/// `mon-fri`, `sat,sun`, `daily`.
fn week(written: &str) -> Result<u8, NoSpan> {
    let day = |name: &str| {
        let short = WEEK.iter().position(|day| *day == name);
        short.or_else(|| LONG.iter().position(|day| *day == name)).ok_or_else(|| {
            wrong("names a day that is none", format!("days are {}", WEEK.join(", ")))
        })
    };
    if written == "daily" {
        return Ok(EVERY_DAY);
    }
    let mut days = 0;
    for part in written.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Over the end of the week as well: sat-mon.
        let length = (last + 7 - first) % 7;
        days |= (0..=length).fold(0, |days, step| days | 1 << ((first + step) % 7));
    }
    Ok(days)
}

const LONG: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// `2026-12-24`.
fn date(written: &str) -> Option<Date> {
    let mut parts = written.split('-');
    let year = digits(parts.next()?, 4)?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// `12-25`, which must exist in some year.
fn yearly(written: &str) -> Option<(i8, i8)> {
    let (month, day) = written.split_once('-')?;
    let (month, day) = (digits(month, 2)?, digits(day, 2)?);
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    Date::new(LEAP_YEAR, month, day).ok().map(|_| (month, day))
}

const LEAP_YEAR: i16 = 2024;

/// `08:00-18:00`, `22:00-06:00`.
fn window(written: &str) -> Result<(u16, u16), NoSpan> {
    let (from, until) = written.split_once('-').ok_or_else(|| {
        wrong("has a time of day without an end", format!("did you mean \"{written}-24:00\"?"))
    })?;
    let (Some(from), Some(until)) = (minute(from), minute(until)) else { return Err(nonsense()) };
    match from {
        DAY_MINUTES => Err(wrong("begins at 24:00", "the day begins at 00:00")),
        _ if from == until => {
            Err(wrong("ends when it begins", "\"00:00-24:00\", or no time, is all day"))
        }
        // To midnight is to the end of the day, and crosses nothing.
        _ if until == 0 => Ok((from, DAY_MINUTES)),
        _ => Ok((from, until)),
    }
}

fn minute(written: &str) -> Option<u16> {
    let (hour, minute) = written.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    let holds = hour < 24 && minute < 60 || (hour, minute) == (24, 0);
    holds.then_some(hour * 60 + minute)
}

fn digits(written: &str, count: usize) -> Option<u16> {
    let holds = written.len() == count && written.bytes().all(|b| b.is_ascii_digit());
    holds.then(|| written.parse().ok()).flatten()
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        match self.days {
            Days::Week(EVERY_DAY) if self.from != 0 || self.until != DAY_MINUTES => {}
            days => {
                write!(f, "{days}")?;
                gap = " ";
            }
        }
        if (self.from, self.until) == (0, DAY_MINUTES) {
            return Ok(());
        }
        let (from, until) = (self.from, self.until);
        write!(f, "{gap}{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Week(EVERY_DAY) => f.write_str("daily"),
            Self::Week(days) => {
                let on = |index: usize| index < WEEK.len() && days & (1 << index) != 0;
                let mut gap = "";
                for (index, name) in WEEK.iter().enumerate().filter(|(index, _)| on(*index)) {
                    let (before, after) = (index > 0 && on(index - 1), on(index + 1));
                    // Within a run of three and more, its last day alone is named, behind a dash.
                    match (before, after) {
                        (true, true) => {}
                        (true, false) if index > 1 && on(index - 2) => write!(f, "-{name}")?,
                        _ => write!(f, "{gap}{name}")?,
                    }
                    gap = ",";
                }
                Ok(())
            }
            Self::Dates(first, last) if first == last => write!(f, "{first}"),
            Self::Dates(first, last) => write!(f, "{first}..{last}"),
            Self::Yearly(first, last) if first == last => {
                write!(f, "{:02}-{:02}", first.0, first.1)
            }
            Self::Yearly((a, b), (c, d)) => write!(f, "{a:02}-{b:02}..{c:02}-{d:02}"),
        }
    }
}

/// A weekday as in the configuration, for explanations.
pub fn weekday(day: Weekday) -> &'static str {
    let index = usize::from(day.to_monday_zero_offset().unsigned_abs());
    WEEK.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn span(written: &str) -> Span {
        written.parse().unwrap()
    }

    fn at(local: &str) -> DateTime {
        local.parse().unwrap()
    }

    #[test]
    fn a_span_holds_when_the_clock_says_so() {
        let cases = [
            (
                "mon-fri 08:00-18:00",
                &["2026-11-27T08:00", "2026-11-27T17:59"][..],
                &["2026-11-27T18:00", "2026-11-28T12:00", "2026-11-27T07:59"][..],
            ),
            ("sat,sun", &["2026-11-28T00:00", "2026-11-29T23:59"], &["2026-11-30T00:00"]),
            ("sat-mon", &["2026-11-28T12:00", "2026-11-30T12:00"], &["2026-12-01T12:00"]),
            ("daily", &["2026-11-28T12:00"], &[]),
            ("Friday", &["2026-11-27T12:00"], &["2026-11-28T12:00"]),
            ("12:00-13:30", &["2026-11-28T13:29"], &["2026-11-28T13:30"]),
            ("18:00-00:00", &["2026-11-28T23:59"], &["2026-11-29T00:00"]),
            ("2026-12-24", &["2026-12-24T23:59"], &["2026-12-25T00:00", "2025-12-24T12:00"]),
            ("2026-12-24..2027-01-06", &["2027-01-06T23:59"], &["2027-01-07T00:00"]),
            ("12-25", &["2026-12-25T00:00", "2031-12-25T09:00"], &["2026-12-26T00:00"]),
            (
                "12-24..01-06 08:00-12:00",
                &["2026-12-31T08:00", "2027-01-01T08:00"],
                &["2027-01-07T08:00", "2027-01-01T12:00"],
            ),
            ("02-29", &["2028-02-29T00:00"], &["2027-03-01T00:00"]),
        ];
        for (written, good, bad) in cases {
            for time in good {
                assert!(span(written).holds(at(time)), "{written} at {time}");
            }
            for time in bad {
                assert!(!span(written).holds(at(time)), "{written} at {time}");
            }
            let again = span(&span(written).to_string());
            assert_eq!(again, span(written), "{written} is shown as it can be written");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let night = span("fri 22:00-06:00");
        assert!(night.holds(at("2026-11-27T22:00")));
        assert!(night.holds(at("2026-11-28T05:59")), "the night of Friday ends on Saturday");
        assert!(!night.holds(at("2026-11-28T06:00")));
        assert!(!night.holds(at("2026-11-28T22:00")), "no night of Saturday");
        assert!(!night.holds(at("2026-11-27T05:59")), "no night of Thursday");
        let new_year = span("12-31 20:00-04:00");
        assert!(new_year.holds(at("2027-01-01T03:59")) && !new_year.holds(at("2026-12-31T03:59")));
    }

    #[test]
    fn summer_time_moves_the_window_with_the_clock() {
        let timezone = TimeZone::get("Europe/Berlin").unwrap();
        let schedule =
            Schedule { timezone, spans: vec![span("02:00-03:00"), span("08:00-09:00")].into() };
        let utc = |text: &str| {
            let at: Timestamp = text.parse().unwrap();
            UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs())
        };
        let holds = |text: &str| schedule.holds(schedule.local(utc(text)));
        assert!(holds("2026-01-15T07:00:00Z") && !holds("2026-01-15T06:00:00Z"), "winter: UTC+1");
        assert!(holds("2026-07-15T06:00:00Z") && !holds("2026-07-15T07:00:00Z"), "summer: UTC+2");
        // 2026-10-25: 02:00 to 03:00 is there twice.
        assert!(holds("2026-10-25T00:30:00Z") && holds("2026-10-25T01:30:00Z"));
        // 2026-03-29: it is not there at all.
        let night = (0..8 * 60)
            .map(|minute| utc("2026-03-28T22:00:00Z") + Duration::from_secs(minute * 60));
        let held = night.filter(|at| schedule.holds(schedule.local(*at))).count();
        assert_eq!(held, 0, "no minute of it before 06:00Z, when it is 08:00 there");
        assert_eq!(schedule.to_string(), "02:00-03:00, 08:00-09:00 (Europe/Berlin)");
    }

    #[test]
    fn what_is_no_span_is_told_why() {
        let said = |written: &str| written.parse::<Span>().unwrap_err();
        for nonsense in [
            "",
            "mon fri",
            "08:00-18:00 mon",
            "24-12",
            "2026-13-01",
            "02-30",
            "8:00-9:00",
            "25:00-26:00",
            "mon 08:00-18:00 x",
        ] {
            assert!(nonsense.parse::<Span>().is_err(), "{nonsense}");
        }
        assert_eq!(said("mon-fry").said, "names a day that is none");
        assert_eq!(said("08:00").hint.unwrap(), "did you mean \"08:00-24:00\"?");
        assert_eq!(said("08:00-08:00").said, "ends when it begins");
        assert_eq!(said("2027-01-06..2026-12-24").said, "ends before it begins");
        assert_eq!(said("08:00-18:00 mon-fri").said, "has the time before the day");
    }
}
