//! Every atom that crosses the boundary, in one place.

rustler::atoms! {
    nil, ok, error, dirty, closed, none,

    // Results
    void, rows, set_keyspace, prepared, schema_change,

    // Error kinds beside those of `errors`
    bad_argument, bad_config, bad_value, bad_statement, not_prepared, response_too_large, server, decode_failed,
    internal, unsent, sent, too_late, over, disabled,

    // Values
    nan, infinity, neg_infinity, unset, empty,
    __struct__, calendar, day, hour, microsecond, minute, month, second, std_offset, time_zone,
    utc_offset, year, zone_abbr,
    elixir_date_time = "Elixir.DateTime",
    elixir_date = "Elixir.Date",
    elixir_time = "Elixir.Time",
    elixir_calendar_iso = "Elixir.Calendar.ISO",
    elixir_duration = "Elixir.Palladion.Duration",
    elixir_decimal = "Elixir.Decimal",
    id,
    elixir_map_set = "Elixir.MapSet",
    palladion_decimal = "Elixir.Palladion.Decimal",
    map, version,
    months, days, nanoseconds, sign, coef, exp,

    // Events
    palladion_events, connection_opened, connect_failed, connection_closed, node_up, node_down,
    control_opened, control_closed, protocol_lowered, topology_change, status_change, unknown_event,
    topology, control, pool, first, avoid,
    handshake, full, full_with_hello_retry_request, resumed,
    not_needed, not_tried,
    sessions, stored, evicted, expired, lineage_expired, purged, refused, rejected,

    // Logins
    palladion_auth, begin, end, credentials, aws_credentials, authenticator, challenge, success, token,
    username, password, authorization_id, access_key_id, secret_access_key, session_token,
    expires_at, sasl, sigv4, ask, chain,
    static_ = "static",
    plain, external, anonymous, cram_md5, digest_md5, scram_sha_1, scram_sha_256,

    // Options
    local, remote, constant, custom, lz4, snappy,
    peer, best_effort, pkcs8, pkcs1, sec1,
    tls12 = "tlsv1.2",
    tls13 = "tlsv1.3",
}
