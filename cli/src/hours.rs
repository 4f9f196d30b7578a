//! Hours as people write them, `mon-fri 18:00-06:00`, and the windows of the week that they are.

use std::{fmt, str::FromStr};

use aevir_wire::Window;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MIN: u16 = 24 * 60;
const WEEK_MIN: u16 = 7 * DAY_MIN;

/// Some hours of some days of the week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hours {
    first_day: u16,
    days: u16,
    from_min: u16,
    /// How long, in minutes; it may pass midnight.
    long_min: u16,
}

/// Text that says no hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoHours(String);

impl fmt::Display for NoHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` says no hours: write days and times in UTC, such as `mon-fri 18:00-06:00`, `sat 00:00-24:00` or `daily 22:00-24:00`",
            self.0
        )
    }
}

impl std::error::Error for NoHours {}

impl FromStr for Hours {
    type Err = NoHours;
    fn from_str(text: &str) -> Result<Self, NoHours> {
        parse(text).ok_or_else(|| NoHours(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Hours> {
    let (days, times) = text.trim().split_once(' ')?;
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = match days.to_ascii_lowercase().as_str() {
        "daily" => (0, 6),
        one => match one.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(one)?, day(one)?),
        },
    };
    let (from, to) = times.trim().split_once('-')?;
    let (from_min, to_min) = (minutes(from)?, minutes(to)?);
    if from_min == DAY_MIN || from_min == to_min {
        return None;
    }
    let days = (last + DAYS.len() - first) % DAYS.len() + 1;
    let passed = if to_min < from_min { DAY_MIN } else { 0 };
    Some(Hours {
        first_day: u16::try_from(first).ok()?,
        days: u16::try_from(days).ok()?,
        from_min,
        long_min: to_min + passed - from_min,
    })
}

/// `18:30`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && all <= DAY_MIN).then_some(all)
}

/// The windows of the week that all these hours are together.
pub(crate) fn windows(all: &[Hours]) -> Vec<Window> {
    let mut open = vec![false; usize::from(WEEK_MIN)];
    for hours in all {
        for day in 0..hours.days {
            let begin = (hours.first_day + day) * DAY_MIN + hours.from_min;
            for minute in begin..begin + hours.long_min {
                open[usize::from(minute % WEEK_MIN)] = true;
            }
        }
    }
    let mut windows: Vec<Window> = Vec::new();
    for minute in (0..WEEK_MIN).filter(|minute| open[usize::from(*minute)]) {
        match windows.last_mut() {
            Some(last) if last.to_min == minute => last.to_min = minute + 1,
            Some(_) | None => windows.push(Window {
                from_min: minute,
                to_min: minute + 1,
            }),
        }
    }
    windows
}

/// A window as people read it.
pub(crate) fn shown(window: &Window) -> String {
    let time = |minute: u16, end: bool| {
        let day = usize::from(minute / DAY_MIN);
        let of_day = minute % DAY_MIN;
        // The end of a day is 24:00 of it, and not 00:00 of the next.
        let (day, of_day) = if end && of_day == 0 {
            (day - 1, DAY_MIN)
        } else {
            (day, of_day)
        };
        format!("{} {:02}:{:02}", DAYS[day], of_day / 60, of_day % 60)
    };
    format!(
        "{} - {}",
        time(window.from_min, false),
        time(window.to_min, true)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(texts: &[&str]) -> Vec<(u16, u16)> {
        let hours: Vec<Hours> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let windows = windows(&hours);
        windows.iter().map(|w| (w.from_min, w.to_min)).collect()
    }

    #[test]
    fn hours_become_windows_in_order() {
        assert_eq!(of(&["mon 00:00-01:00"]), [(0, 60)]);
        assert_eq!(
            of(&["tue-wed 08:30-09:00"]),
            [(1_950, 1_980), (3_390, 3_420)]
        );
        assert_eq!(of(&["daily 00:00-24:00"]), [(0, 10_080)]);
        assert_eq!(
            of(&["wed 10:00-12:00", "Wed 11:00-13:00"]),
            [(3_480, 3_660)]
        );
        // Over midnight, and over the end of the week.
        assert_eq!(of(&["mon 22:00-02:00"]), [(1_320, 1_560)]);
        assert_eq!(of(&["sun 22:00-02:00"]), [(0, 120), (9_960, 10_080)]);
        assert_eq!(
            of(&["sat-mon 00:00-01:00"]),
            [(0, 60), (7_200, 7_260), (8_640, 8_700)]
        );
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn what_says_no_hours_is_refused() {
        for bad in [
            "",
            "mon",
            "18:00-19:00",
            "mon 18:00",
            "xyz 18:00-19:00",
            "mon 24:00-25:00",
            "mon 18:60-19:00",
            "mon 18:00-18:00",
            "mon 24:00-01:00",
            "mon 18-19",
        ] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }

    #[test]
    fn windows_are_shown_by_day_and_time() {
        let window = Window {
            from_min: 1_950,
            to_min: 2_880,
        };
        assert_eq!(shown(&window), "tue 08:30 - tue 24:00");
    }
}
