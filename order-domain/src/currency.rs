//! The currencies of ISO 4217.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;

macro_rules! currencies {
    ($($code:ident $digits:literal)+) => {
        /// A currency, by its alphabetic code in ISO 4217's list of current currencies and funds (as of January
        /// 2026), without the entries that have no minor unit: metals, bond market units, `XDR`, `XTS`, `XXX`.
        ///
        /// A code stays accepted when ISO withdraws it later, so that old orders can still be read.
        ///
        /// ```
        /// use order_domain::{Currency, InvalidValue};
        ///
        /// assert_eq!("EUR".parse(), Ok(Currency::EUR));
        /// assert_eq!(Currency::EUR.minor_unit_digits(), 2);
        /// assert_eq!(Currency::JPY.minor_unit_digits(), 0);
        /// assert_eq!("eur".parse::<Currency>(), Err(InvalidValue::Currency));
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        #[non_exhaustive]
        pub enum Currency {
            $(#[doc = concat!("`", stringify!($code), "`, with ", $digits, " digits of minor units.")] $code,)+
        }

        impl Currency {
            /// Every currency, by its code in alphabetical order. (`ALL` is the Albanian lek.)
            pub const LIST: &[Self] = &[$(Self::$code),+];

            /// The three capitals of its code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($code),)+
                }
            }

            /// How many decimal digits its minor unit has: 2 for the euro, whose minor unit is the cent.
            #[must_use]
            pub const fn minor_unit_digits(self) -> u8 {
                match self {
                    $(Self::$code => $digits,)+
                }
            }
        }
    };
}

currencies! {
    AED 2 AFN 2 ALL 2 AMD 2 AOA 2 ARS 2 AUD 2 AWG 2 AZN 2 BAM 2 BBD 2 BDT 2 BHD 3 BIF 0 BMD 2 BND 2 BOB 2 BOV 2
    BRL 2 BSD 2 BTN 2 BWP 2 BYN 2 BZD 2 CAD 2 CDF 2 CHE 2 CHF 2 CHW 2 CLF 4 CLP 0 CNY 2 COP 2 COU 2 CRC 2 CUP 2
    CVE 2 CZK 2 DJF 0 DKK 2 DOP 2 DZD 2 EGP 2 ERN 2 ETB 2 EUR 2 FJD 2 FKP 2 GBP 2 GEL 2 GHS 2 GIP 2 GMD 2 GNF 0
    GTQ 2 GYD 2 HKD 2 HNL 2 HTG 2 HUF 2 IDR 2 ILS 2 INR 2 IQD 3 IRR 2 ISK 0 JMD 2 JOD 3 JPY 0 KES 2 KGS 2 KHR 2
    KMF 0 KPW 2 KRW 0 KWD 3 KYD 2 KZT 2 LAK 2 LBP 2 LKR 2 LRD 2 LSL 2 LYD 3 MAD 2 MDL 2 MGA 2 MKD 2 MMK 2 MNT 2
    MOP 2 MRU 2 MUR 2 MVR 2 MWK 2 MXN 2 MXV 2 MYR 2 MZN 2 NAD 2 NGN 2 NIO 2 NOK 2 NPR 2 NZD 2 OMR 3 PAB 2 PEN 2
    PGK 2 PHP 2 PKR 2 PLN 2 PYG 0 QAR 2 RON 2 RSD 2 RUB 2 RWF 0 SAR 2 SBD 2 SCR 2 SDG 2 SEK 2 SGD 2 SHP 2 SLE 2
    SOS 2 SRD 2 SSP 2 STN 2 SVC 2 SYP 2 SZL 2 THB 2 TJS 2 TMT 2 TND 3 TOP 2 TRY 2 TTD 2 TWD 2 TZS 2 UAH 2 UGX 0
    USD 2 USN 2 UYI 0 UYU 2 UYW 4 UZS 2 VED 2 VES 2 VND 0 VUV 0 WST 2 XAD 2 XAF 0 XCD 2 XCG 2 XOF 0 XPF 0 YER 2
    ZAR 2 ZMW 2 ZWG 2
}

impl FromStr for Currency {
    type Err = InvalidValue;

    fn from_str(code: &str) -> Result<Self, InvalidValue> {
        let place = Self::LIST.binary_search_by(|currency| currency.as_str().cmp(code));
        place.map(|place| Self::LIST[place]).map_err(|_| InvalidValue::Currency)
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidValue;

    fn try_from(code: String) -> Result<Self, InvalidValue> {
        code.parse()
    }
}

impl From<Currency> for &'static str {
    fn from(currency: Currency) -> Self {
        currency.as_str()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_three_capitals_in_alphabetical_order() {
        assert!(Currency::LIST.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        for currency in Currency::LIST {
            let code = currency.as_str();
            assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()), "{code}");
        }
    }

    #[test]
    fn every_currency_is_read_from_its_own_code() {
        for currency in Currency::LIST {
            assert_eq!(currency.as_str().parse(), Ok(*currency));
            let json = serde_json::to_value(currency).unwrap();
            assert_eq!(json, currency.as_str());
            assert_eq!(serde_json::from_value::<Currency>(json).unwrap(), *currency);
        }
    }

    #[test]
    fn other_codes_are_refused() {
        for refused in ["", "E", "EU", "eur", "Eur", "EURO", " EUR", "XXX", "XAU", "XTS", "AAA", "ZZZ", "€"] {
            assert_eq!(refused.parse::<Currency>(), Err(InvalidValue::Currency), "{refused:?}");
        }
    }

    #[test]
    fn minor_units_are_those_of_the_list() {
        let digits = |code: &str| code.parse::<Currency>().unwrap().minor_unit_digits();
        assert_eq!([digits("JPY"), digits("EUR"), digits("KWD"), digits("CLF")], [0, 2, 3, 4]);
    }
}
