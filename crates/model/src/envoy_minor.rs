//! The minors of Envoy that are served, and what a proxy says of its own.

use std::fmt;
use std::str::FromStr;

/// The minor version of a proxy's Envoy, as far as it matters: what is newer is sent what the newest known one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvoyMinor {
    /// 1.38
    V1_38,
    /// 1.39
    V1_39,
    /// 1.40 and newer
    V1_40,
}

impl EnvoyMinor {
    /// All that are served, the oldest first.
    pub const ALL: [Self; 3] = [Self::V1_38, Self::V1_39, Self::V1_40];
    /// The oldest that is served.
    pub const OLDEST: Self = Self::V1_38;
    /// The newest that is known.
    pub const NEWEST: Self = Self::V1_40;

    /// What a proxy of this version is sent.
    ///
    /// # Errors
    /// [`TooOld`] for what is older than the oldest that is served.
    pub fn of(major: u32, minor: u32) -> Result<Self, TooOld> {
        match (major, minor) {
            (0, _) | (1, ..38) => Err(TooOld { major, minor }),
            (1, 38) => Ok(Self::V1_38),
            (1, 39) => Ok(Self::V1_39),
            (1.., _) => Ok(Self::V1_40),
        }
    }
}

impl fmt::Display for EnvoyMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_38 => "1.38",
            Self::V1_39 => "1.39",
            Self::V1_40 => "1.40",
        })
    }
}

/// A proxy that does not understand what it would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    major: u32,
    minor: u32,
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor } = self;
        let oldest = EnvoyMinor::OLDEST;
        write!(
            f,
            "Envoy {major}.{minor} is not served: run {oldest} or newer in the proxy"
        )
    }
}

impl std::error::Error for TooOld {}

/// Why a text is no version of Envoy that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidEnvoyMinor {
    /// It does not begin with two numbers.
    Text(String),
    /// It is too old.
    TooOld(TooOld),
}

impl fmt::Display for InvalidEnvoyMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => {
                let newest = EnvoyMinor::NEWEST;
                write!(f, "{text:?} is not a version of Envoy, such as {newest}")
            }
            Self::TooOld(old) => old.fmt(f),
        }
    }
}

impl std::error::Error for InvalidEnvoyMinor {}

impl FromStr for EnvoyMinor {
    type Err = InvalidEnvoyMinor;

    /// Reads `1.38` or `1.38.3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.splitn(3, '.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => {
                Self::of(major, minor).map_err(InvalidEnvoyMinor::TooOld)
            }
            _ => Err(InvalidEnvoyMinor::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_sent_what_the_newest_known_minor_takes_that_is_not_newer_than_its_own() {
        for (text, minor) in [
            ("1.38", EnvoyMinor::V1_38),
            ("1.39.3", EnvoyMinor::V1_39),
            ("1.40.0-dev", EnvoyMinor::V1_40),
            ("1.41", EnvoyMinor::V1_40),
            ("2.0", EnvoyMinor::V1_40),
        ] {
            assert_eq!(text.parse(), Ok(minor), "{text}");
        }
    }

    #[test]
    fn what_is_too_old_is_told_what_to_run() {
        let said = "1.37.0".parse::<EnvoyMinor>().unwrap_err().to_string();
        assert_eq!(
            said,
            "Envoy 1.37 is not served: run 1.38 or newer in the proxy"
        );
        assert!("0.9".parse::<EnvoyMinor>().is_err());
        assert!("new".parse::<EnvoyMinor>().is_err());
    }
}
