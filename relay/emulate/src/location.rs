//! An emergency caller's location beside SDP (RFC 6442, fixture F-10).

use bytes::Bytes;

/// Where the location stands among the parts of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pidf {
    /// Before SDP.
    First,
    /// After it, as is usual.
    Last,
}

const BOUNDARY: &str = "----=_Part_a1b2";
/// What Geolocation and the part's Content-ID have in common.
const ID: &str = "alice@woodgrovebank.us";

/// The value of Geolocation.
pub(crate) fn geolocation() -> String {
    format!("<cid:{ID}>")
}

/// The type of [`body`].
pub(crate) fn content_type() -> String {
    format!("multipart/mixed; boundary={BOUNDARY}")
}

/// `sdp` and the location, one after the other.
pub(crate) fn body(sdp: &Bytes, order: Pidf) -> Bytes {
    let sdp = String::from_utf8_lossy(sdp);
    let sdp = format!("--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n");
    let location = format!(
        "--{BOUNDARY}\r\nContent-Type: application/pidf+xml\r\nContent-ID: <{ID}>\r\n\r\n{LOCATION}\r\n"
    );
    let (first, last) = match order {
        Pidf::First => (location, sdp),
        Pidf::Last => (sdp, location),
    };
    format!("{first}{last}--{BOUNDARY}--\r\n").into()
}

const LOCATION: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<presence entity="sip:alice@woodgrovebank.us" xmlns="urn:ietf:params:xml:ns:pidf">
 <tuple id="tuple0"><status>
  <geopriv xmlns="urn:ietf:params:xml:ns:pidf:geopriv10">
   <location-info>
    <Point srsName="urn:ogc:def:crs:EPSG::4326" xmlns="http://www.opengis.net/gml"><pos>39.3294 -78.313</pos></Point>
    <civicAddress xmlns="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr">
     <country>US</country><A1>WA</A1><A3>Redmond</A3><RD>156th</RD><STS>Ave</STS><HNO>3910</HNO><LOC>Bldg 30/3</LOC><NAM>Contoso</NAM><PC>98052</PC><ELIN>14255550911</ELIN>
    </civicAddress>
   </location-info>
   <usage-rules/><method>LIS</method>
  </geopriv></status><timestamp>2026-01-15T10:00:00Z</timestamp></tuple>
</presence>"#;
