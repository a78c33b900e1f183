//! A cluster's configuration, from the map that `Palladion.Config` makes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::{Compression, Version};
use palladion_driver::auth::Callbacks;
use palladion_driver::config::{
    ClientIdentity, ConnectionLimits, ContactPoint, ProtocolConfig, Reconnect, ReconnectPolicy,
    Timeouts,
};
use palladion_driver::probe::ProbeConfig;
use palladion_driver::tls::{
    CrlCheck, Identity, KeyForm, SessionCacheConfig, Sni, TlsConfig, TlsVersion, VerifiedName,
};
use palladion_driver::{ClusterConfig, Distance, Endpoint, NodeSpec};
use rustler::{Atom, Binary, Decoder, ResourceArc, Term};

use crate::atoms;
use crate::auth::auth_config;
use crate::callbacks::CallbackResource;
use crate::errors::{node_of, NativeError};
use crate::runtime::Threads;
use crate::secret::SecretResource;

pub(crate) fn cluster_config(map: Term<'_>) -> Result<ClusterConfig, NativeError> {
    let map = Options(map);
    let contact_points = map
        .get::<Vec<Term<'_>>>("contact_points")?
        .into_iter()
        .map(|point| {
            let point = Options(point);
            Ok(ContactPoint {
                host: point.get("host")?,
                port: point.get("port")?,
                verified_name: point.get("verified_name")?,
            })
        })
        .collect::<Result<_, NativeError>>()?;
    let max_in_flight: usize = map.get("max_in_flight")?;
    Ok(ClusterConfig {
        name: map.get("name")?,
        contact_points,
        keyspace: map.get("keyspace")?,
        client: ClientIdentity {
            driver_name: "Palladion".to_owned(),
            driver_version: map.get("driver_version")?,
            application_name: map.get("application_name")?,
            application_version: map.get("application_version")?,
            client_id: map.get("client_id")?,
        },
        protocol: ProtocolConfig {
            version: version(&map)?,
            compression: compression(map.get("compression")?)?,
        },
        pool_size: map.get("pool_size")?,
        connection: ConnectionLimits {
            max_queue: map.get("max_queue")?,
            max_in_flight,
            // Beyond half of the streams a connection is of little use any more.
            max_orphans: max_in_flight / 2,
            max_frame_size: map.get("max_frame_size")?,
            max_response_size: map.get("max_response_size")?,
        },
        max_overflow: map.get("max_overflow")?,
        max_waiters: map.get("max_waiters")?,
        prepared_cache_size: map.get("prepared_cache_size")?,
        timeouts: Timeouts {
            connect: map.millis("connect_timeout")?,
            tls: map.millis("tls_timeout")?,
            login: map.millis("login_timeout")?,
            heartbeat_interval: map.millis("heartbeat_interval")?,
            heartbeat: map.millis("heartbeat_timeout")?,
        },
        reconnect: Reconnect {
            policy: reconnect_policy(map.get("reconnect_policy")?),
            min: map.millis("reconnect_min")?,
            max: map.millis("reconnect_max")?,
        },
        discover: true,
        tls: map.section("tls")?.map(tls_config).transpose()?,
        auth: map.section("auth")?.map(auth_config).transpose()?,
        callbacks: callbacks(&map)?,
        max_handshakes: map.get("max_handshakes")?,
    })
}

fn callbacks(map: &Options<'_>) -> Result<Arc<dyn Callbacks>, NativeError> {
    let callbacks: ResourceArc<CallbackResource> = map.get("callbacks")?;
    Ok(Arc::clone(&callbacks.0) as _)
}

/// The version that is to be spoken, if it's not left to the servers.
fn version(map: &Options<'_>) -> Result<Option<Version>, NativeError> {
    let version: Option<u8> = map.get("protocol_version")?;
    let version = version.map(Version::from_wire).transpose();
    version.map_err(|error| NativeError::bad_config("protocol_version", error))
}

fn compression(name: Atom) -> Result<Option<Compression>, NativeError> {
    if name == atoms::nil() {
        Ok(None)
    } else if name == atoms::lz4() {
        Ok(Some(Compression::Lz4))
    } else if name == atoms::snappy() {
        Ok(Some(Compression::Snappy))
    } else {
        Err(NativeError::bad_config("compression", "is not known"))
    }
}

fn reconnect_policy(policy: Atom) -> ReconnectPolicy {
    if policy == atoms::constant() {
        ReconnectPolicy::Constant
    } else if policy == atoms::custom() {
        ReconnectPolicy::Custom
    } else {
        ReconnectPolicy::Exponential
    }
}

/// A node of the list that `Palladion.Cluster.Topology` makes; nothing if it is to be ignored.
pub(crate) fn node_spec(map: Term<'_>) -> Result<Option<NodeSpec>, NativeError> {
    let map = Options(map);
    let distance: Atom = map.get("distance")?;
    let distance = if distance == atoms::local() {
        Distance::Local
    } else if distance == atoms::remote() {
        Distance::Remote
    } else {
        return Ok(None);
    };
    Ok(Some(NodeSpec {
        id: node_of(map.get("id")?)?,
        endpoint: Endpoint {
            host: map.get("host")?,
            port: map.get("port")?,
            verified_name: map.get("verified_name")?,
            sni: map.get("sni")?,
        },
        distance,
        preference: map.get("preference")?,
        size: map.get("size")?,
    }))
}

/// What `Palladion.Doctor` wants to look at.
pub(crate) fn probe_config(map: Term<'_>) -> Result<(ProbeConfig, Threads), NativeError> {
    let map = Options(map);
    let port = map.get("port")?;
    let address: String = map.get("address")?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| NativeError::bad_config("address", "is no IP address"))?;
    let config = ProbeConfig {
        endpoint: Endpoint {
            host: map.get("host")?,
            port,
            verified_name: None,
            sni: None,
        },
        address: SocketAddr::new(address, port),
        tls: map.section("tls")?.map(tls_config).transpose()?,
        auth: map.section("auth")?.map(auth_config).transpose()?,
        callbacks: callbacks(&map)?,
        cql: map.get("cql")?,
        resume: map.get("resume")?,
        // Every server that is worth a look speaks it.
        version: version(&map)?.unwrap_or(Version::V4),
        client: ClientIdentity {
            driver_name: "Palladion".to_owned(),
            driver_version: map.get("driver_version")?,
            application_name: Some("Palladion doctor".to_owned()),
            application_version: None,
            client_id: map.get("client_id")?,
        },
        timeouts: Timeouts {
            connect: map.millis("connect_timeout")?,
            tls: map.millis("tls_timeout")?,
            login: map.millis("login_timeout")?,
            // It does not live long enough for one.
            heartbeat_interval: Duration::MAX,
            heartbeat: Duration::MAX,
        },
    };
    let threads = Threads {
        workers: map.get("workers")?,
        decoders: map.get("decoders")?,
    };
    Ok((config, threads))
}

/// The security configuration, from the map that stands in the cluster's and in a reload's.
pub(crate) fn tls_config(map: Term<'_>) -> Result<TlsConfig, NativeError> {
    let map = Options(map);
    let verify: Atom = map.get("verify")?;
    let key_log: Option<String> = map.get("key_log")?;
    Ok(TlsConfig {
        verify: verified(verify)?,
        roots: map.binaries("cacerts")?,
        pins: pins(&map)?,
        crls: map.binaries("crls")?,
        crl_check: crl_check(map.get("crl_check")?),
        verified_name: match map.name_or_false("verified_name")? {
            None => VerifiedName::Endpoint,
            Some(None) => VerifiedName::Unchecked,
            Some(Some(name)) => VerifiedName::Fixed(name),
        },
        sni: match map.name_or_false("sni")? {
            None => Sni::Verified,
            Some(None) => Sni::Disabled,
            Some(Some(name)) => Sni::Fixed(name),
        },
        identity: identity(&map)?,
        versions: map
            .get::<Vec<Atom>>("versions")?
            .into_iter()
            .filter_map(tls_version)
            .collect(),
        cipher_suites: map.names("cipher_suites")?,
        groups: map.names("groups")?,
        key_log: key_log.map(PathBuf::from),
        session_cache: map
            .section("session_cache")?
            .map(session_cache)
            .transpose()?,
    })
}

fn verified(verify: Atom) -> Result<bool, NativeError> {
    if verify == atoms::peer() {
        Ok(true)
    } else if verify == atoms::none() {
        Ok(false)
    } else {
        Err(NativeError::bad_config("verify", "must be peer or none"))
    }
}

fn pins(map: &Options<'_>) -> Result<Vec<[u8; 32]>, NativeError> {
    let pins: Vec<Binary<'_>> = map.get("pins")?;
    pins.iter()
        .map(|pin| pin.as_slice().try_into())
        .collect::<Result<_, _>>()
        .map_err(|_| NativeError::bad_config("pins", "must have 32 bytes"))
}

fn crl_check(check: Atom) -> CrlCheck {
    if check == atoms::peer() {
        CrlCheck::Peer
    } else if check == atoms::best_effort() {
        CrlCheck::BestEffort
    } else {
        CrlCheck::Chain
    }
}

fn identity(map: &Options<'_>) -> Result<Option<Identity>, NativeError> {
    let chain = map.binaries("cert_chain")?;
    let key = map.get::<Option<(Atom, ResourceArc<SecretResource>)>>("key")?;
    if key.is_none() && !chain.is_empty() {
        return Err(NativeError::bad_config("key", "is missing"));
    }
    Ok(key.map(|(form, key)| Identity {
        chain,
        key_form: key_form(form),
        key: key.0.clone(),
    }))
}

fn tls_version(version: Atom) -> Option<TlsVersion> {
    if version == atoms::tls12() {
        Some(TlsVersion::V12)
    } else if version == atoms::tls13() {
        Some(TlsVersion::V13)
    } else {
        None
    }
}

fn session_cache(map: Term<'_>) -> Result<SessionCacheConfig, NativeError> {
    let map = Options(map);
    Ok(SessionCacheConfig {
        size: map.get("size")?,
        ttl: Duration::from_secs(map.get("ttl")?),
        max_lineage: Duration::from_secs(map.get("max_lineage")?),
    })
}

fn key_form(form: Atom) -> KeyForm {
    if form == atoms::pkcs1() {
        KeyForm::Pkcs1
    } else if form == atoms::sec1() {
        KeyForm::Sec1
    } else {
        KeyForm::Pkcs8
    }
}

/// A map with atom keys. What is missing or of the wrong kind is an error with the option's name.
pub(crate) struct Options<'a>(pub(crate) Term<'a>);

impl<'a> Options<'a> {
    pub(crate) fn get<T: Decoder<'a>>(&self, key: &'static str) -> Result<T, NativeError> {
        let atom = Atom::from_str(self.0.get_env(), key);
        atom.and_then(|atom| self.0.map_get(atom))
            .and_then(|value| value.decode())
            .map_err(|_| NativeError::bad_config(key, "missing or of the wrong kind"))
    }

    /// A map, or nothing for `nil`.
    fn section(&self, key: &'static str) -> Result<Option<Term<'a>>, NativeError> {
        let value: Term<'a> = self.get(key)?;
        match value {
            map if map.is_map() => Ok(Some(map)),
            nil if atoms::nil() == nil => Ok(None),
            _ => Err(NativeError::bad_config(key, "must be a map or nil")),
        }
    }

    fn millis(&self, key: &'static str) -> Result<Duration, NativeError> {
        self.get(key).map(Duration::from_millis)
    }

    fn binaries(&self, key: &'static str) -> Result<Vec<Vec<u8>>, NativeError> {
        let binaries: Vec<Binary<'a>> = self.get(key)?;
        Ok(binaries.iter().map(|bytes| bytes.to_vec()).collect())
    }

    /// Names, none for `nil`.
    fn names(&self, key: &'static str) -> Result<Vec<String>, NativeError> {
        let names: Option<Vec<String>> = self.get(key)?;
        Ok(names.unwrap_or_default())
    }

    /// `nil`, `false` or a name.
    fn name_or_false(&self, key: &'static str) -> Result<Option<Option<String>>, NativeError> {
        let value: Term<'a> = self.get(key)?;
        if let Ok(false) = value.decode::<bool>() {
            return Ok(Some(None));
        }
        let name: Option<String> = self.get(key)?;
        Ok(name.map(Some))
    }
}
