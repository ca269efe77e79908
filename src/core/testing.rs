//! Builds small DNS messages for unit tests. It knows the wire format on its own, so that a mistake
//! in the code under test does not hide in the messages that test it.

/// A response under construction.
pub(crate) struct Response {
    bytes: Vec<u8>,
}

/// A name in wire form.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a label"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

/// A query for a name and type, with the ID 0x1234 and RD.
pub(crate) fn query(text: &str, qtype: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    out.extend(name(text));
    out.extend(qtype.to_be_bytes());
    out.extend([0, 1]);
    out
}

/// The same query with an OPT; `flags` is the byte whose highest bit is DO.
pub(crate) fn query_with_opt(text: &str, qtype: u16, udp_size: u16, flags: u8) -> Vec<u8> {
    let mut out = query(text, qtype);
    out[11] = 1;
    out.extend([0, 0, 41]);
    out.extend(udp_size.to_be_bytes());
    out.extend([0, 0, flags, 0, 0, 0]);
    out
}

impl Response {
    /// Begins a NOERROR response without records to a question, with RD and RA.
    pub(crate) fn new(text: &str, qtype: u16) -> Self {
        let mut bytes = query(text, qtype);
        bytes[2] = 0x81;
        bytes[3] = 0x80;
        Self { bytes }
    }

    /// Sets the response code.
    pub(crate) fn rcode(mut self, rcode: u8) -> Self {
        self.bytes[3] = self.bytes[3] & 0xf0 | rcode;
        self
    }

    /// Sets all flags.
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        self
    }

    /// Appends a record to the section whose count stands at the offset `count_at`: 6 for the
    /// answer section, 8 for the authority and 10 for the additional section.
    pub(crate) fn record(mut self, count_at: usize, owner: &str, rtype: u16, ttl: u32, data: &[u8]) -> Self {
        self.bytes[count_at + 1] += 1;
        self.bytes.extend(name(owner));
        self.bytes.extend(rtype.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(ttl.to_be_bytes());
        self.bytes.extend(u16::try_from(data.len()).expect("RDATA").to_be_bytes());
        self.bytes.extend(data);
        self
    }

    /// Appends an A record with the address 192.0.2.1 to the answer section.
    pub(crate) fn a(self, owner: &str, ttl: u32) -> Self {
        self.record(6, owner, 1, ttl, &[192, 0, 2, 1])
    }

    /// Appends a CNAME to the answer section.
    pub(crate) fn cname(self, owner: &str, target: &str, ttl: u32) -> Self {
        let target = name(target);
        self.record(6, owner, 5, ttl, &target)
    }

    /// Appends an SOA to the authority section.
    pub(crate) fn soa(self, owner: &str, ttl: u32, minimum: u32) -> Self {
        let mut data = vec![0, 0];
        data.extend([0; 16]);
        data.extend(minimum.to_be_bytes());
        self.record(8, owner, 6, ttl, &data)
    }

    /// Appends an OPT with the upper eight bits of the response code and raw options.
    pub(crate) fn opt(mut self, extended: u8, options: &[u8]) -> Self {
        self.bytes[11] += 1;
        self.bytes.extend([0, 0, 41, 4, 0xd0, extended, 0, 0, 0]);
        self.bytes.extend(u16::try_from(options.len()).expect("options").to_be_bytes());
        self.bytes.extend(options);
        self
    }

    /// The finished message.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The policy of a configuration in which every key has its default.
pub(crate) fn policy() -> super::policy::Policy {
    crate::config::settings::Settings::standard().policy
}
