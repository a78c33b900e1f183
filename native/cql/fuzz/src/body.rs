//! A message's bytes, by hand.

/// Puts the protocol's notations one after another.
#[derive(Default, Clone)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn short(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }
    pub fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }
    pub fn string(self, text: &str) -> Self {
        self.short(text.len() as u16).raw(text.as_bytes())
    }
    pub fn strings(self, texts: &[&str]) -> Self {
        let counted = self.short(texts.len() as u16);
        texts.iter().fold(counted, |body, text| body.string(text))
    }
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.int(bytes.len() as i32).raw(bytes)
    }
    pub fn short_bytes(self, bytes: &[u8]) -> Self {
        self.short(bytes.len() as u16).raw(bytes)
    }
    pub fn when(self, holds: bool, more: impl FnOnce(Self) -> Self) -> Self {
        if holds {
            more(self)
        } else {
            self
        }
    }
}

/// Nothing yet.
pub fn body() -> Body {
    Body::default()
}
