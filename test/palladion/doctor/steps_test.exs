defmodule Palladion.Doctor.StepsTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Doctor, only: [seen: 0, seen: 1, probe: 1, stopped: 1]

  alias Palladion.Config.Protocol
  alias Palladion.ConnectionError
  alias Palladion.Doctor.{Stage, Steps}

  @ids [
    :dns,
    :tcp,
    :tls,
    :chain,
    :trust,
    :name,
    :client_certificate,
    :resumption,
    :protocol,
    :authenticator,
    :login
  ]

  defp steps(seen), do: Map.new(Steps.build(seen), &{&1.id, &1})
  defp problems(seen), do: for(%{status: :problem} = s <- Steps.build(seen), do: {s.id, s.reason})
  defp warnings(seen), do: for(%{status: :warning} = s <- Steps.build(seen), do: s.id)
  defp both(probe), do: ["tlsv1.3": probe, "tlsv1.2": probe]

  test "all is well" do
    assert Enum.map(Steps.build(seen()), &{&1.id, &1.status}) == Enum.map(@ids, &{&1, :ok})
  end

  test "the steps are always the same" do
    for seen <- [
          seen(resolution: {:error, :nxdomain}, dials: [], probes: [], address: nil),
          seen(probes: both(stopped({:not_tls, %{}})), old_versions: []),
          seen(settings: [tls: false, verify: :none], probes: [{nil, probe(tls: nil)}])
        ] do
      assert Enum.map(Steps.build(seen), & &1.id) == @ids
    end
  end

  describe "DNS and TCP:" do
    test "an unknown name" do
      seen = seen(resolution: {:error, :nxdomain}, dials: [], probes: [], address: nil)
      assert problems(seen) == [dns: :dns_failed]
      assert steps(seen).dns.summary =~ "non-existing domain"
      assert for(s <- Steps.build(seen), s.reason == :not_reached, do: s.id) == tl(@ids)
    end

    test "a port that isn't open" do
      for {reason, kind} <- [
            econnrefused: :connection_refused,
            ehostunreach: :unreachable,
            timeout: :connect_timeout,
            emfile: :connect_failed
          ] do
        seen = seen(dials: [{"10.0.0.1", {:error, reason}, 9}], probes: [], address: nil)
        assert problems(seen) == [tcp: kind]
      end
    end

    test "one address of two that is" do
      seen = seen(dials: [{"::1", {:error, :econnrefused}, 9}, {"10.0.0.1", :ok, 9}])
      assert problems(seen) == []
      assert warnings(seen) == [:tcp]
      assert steps(seen).tcp.summary =~ "1 of 2"
    end
  end

  describe "an error of the library" do
    test "is the problem of its own step, whatever else was seen" do
      tls = [
        :not_tls,
        :server_requires_tls,
        :tls_timeout,
        :tls_version,
        :tls_alert,
        :tls_failed,
        :cipher_mismatch
      ]

      for kind <- tls do
        assert problems(seen(probes: both(stopped({kind, %{}})))) == [tls: kind]
      end

      for kind <- [:client_certificate_missing, :certificate_rejected],
          probe <- [stopped({kind, %{}}), probe(cql: nil, resumption: nil, error: {kind, %{}})] do
        seen = seen(probes: both(probe))
        assert problems(seen) == [client_certificate: kind]
        assert steps(seen).tls.status == :ok
      end

      login = [
        :bad_credentials,
        :unknown_authenticator,
        :auth_required,
        :auth_not_requested,
        :challenge_malformed,
        :server_not_authentic,
        :mechanism_refused,
        :signature_refused,
        :credentials_missing,
        :credentials_failed,
        :credentials_timeout,
        :credentials_expired,
        :credentials_invalid,
        :authenticator_failed,
        :authenticator_timeout
      ]

      for kind <- login do
        probe = probe(cql: [login: {kind, %{}}], error: {kind, %{}})
        assert problems(seen(probes: both(probe))) == [login: kind]
      end

      probe = probe(cql: nil, error: {:unsupported_protocol, %{}})
      assert problems(seen(probes: both(probe))) == [protocol: :unsupported_protocol]
    end

    test "that can come at any time belongs to what was under way" do
      lost = {:connection_lost, %{}}
      unknown = %{supported: %{}, authenticator: nil, login: :not_tried}
      assert problems(seen(probes: both(stopped(lost)))) == [tls: :connection_lost]

      for {cql, stage} <- [{nil, :protocol}, {unknown, :protocol}, {[login: :not_tried], :login}] do
        probe = probe(cql: cql, error: lost)
        assert problems(seen(probes: both(probe))) == [{stage, :connection_lost}]
      end

      plain = %{stopped(lost) | connect_us: nil}
      settings = [tls: false, verify: :none, versions: [nil]]
      assert problems(seen(settings: settings, probes: [{nil, plain}])) == [tcp: :connection_lost]
    end

    test "before anything of CQL makes one ask what listens there" do
      for kind <- [:connection_closed, :connection_lost, :login_timeout] do
        probe = probe(cql: nil, resumption: nil, error: {kind, %{}})
        assert %{reason: ^kind, advice: advice} = steps(seen(probes: both(probe))).protocol
        assert advice =~ "another service"
      end
    end

    test "never goes unnoticed, whichever it is" do
      for reason <- ConnectionError.reasons() ++ [:what_a_newer_library_says],
          probe <- [stopped({reason, %{}}), probe(cql: nil, error: {reason, %{}})] do
        assert [{_stage, ^reason}] = problems(seen(probes: both(probe)))
      end
    end

    test "has the advice that its exception has" do
      error = {:bad_credentials, %{endpoint: "db1.example:9042", server_message: "no"}}
      login = steps(seen(probes: both(probe(cql: [login: error])))).login
      assert login.summary == ~s|the server refused the login (the server says "no")|
      assert login.advice =~ "needs LOGIN = true"
    end
  end

  describe "versions of TLS:" do
    test "one will do" do
      for refused <- [:"tlsv1.3", :"tlsv1.2"] do
        probes = Keyword.put(seen().probes, refused, stopped({:tls_version, %{}}))
        assert problems(seen(probes: probes)) == []
      end
    end

    test "one that isn't allowed won't" do
      probes = ["tlsv1.3": stopped({:tls_version, %{}}), "tlsv1.2": probe(cql: nil)]
      seen = seen(settings: [versions: [:"tlsv1.3"]], probes: probes)
      assert problems(seen) == [tls: :tls_version]
      assert steps(seen).chain.status == :ok
      assert steps(seen).login.reason == :not_reached
    end

    test "old ones are told" do
      seen = seen(old_versions: ["tlsv1.1": :accepted, tlsv1: {:unknown, "for some reason"}])
      assert warnings(seen) == [:tls]
      assert steps(seen).tls.summary == "TLS 1.3 and TLS 1.2, but also the insecure TLS 1.1"
      assert "TLS 1.0: unknown, for some reason" in steps(seen).tls.lines
    end

    test "what all say is said once" do
      seen = seen(probes: both(stopped({:not_tls, %{}})), old_versions: [])
      assert steps(seen).tls.lines == []
    end

    test "one of two, with which something else is wrong" do
      mismatch = stopped({:cipher_mismatch, %{}})
      probes = ["tlsv1.3": stopped({:tls_version, %{}}), "tlsv1.2": mismatch]
      assert problems(seen(probes: probes)) == [tls: :cipher_mismatch]
      assert ["TLS 1.3: refused" | _] = steps(seen(probes: probes)).tls.lines
    end

    test "nothing but old ones" do
      probes = both(stopped({:tls_version, %{}}))
      seen = seen(probes: probes, old_versions: ["tlsv1.1": :accepted, tlsv1: :refused])
      assert problems(seen) == [tls: :tls_version]
      assert ["TLS 1.3: refused", "TLS 1.2: refused" | _] = steps(seen).tls.lines
      assert "TLS 1.1: accepted, and insecure" in steps(seen).tls.lines
    end

    test "none at all" do
      settings = [tls: false, verify: :none, versions: [nil]]
      seen = seen(settings: settings, probes: [{nil, probe(tls: nil, resumption: nil)}])
      assert problems(seen) == []
      assert warnings(seen) == [:tls]
      assert steps(seen).login.status == :ok

      seen = seen(settings: settings, probes: [{nil, stopped({:server_requires_tls, %{}})}])
      assert problems(seen) == [tls: :server_requires_tls]
    end
  end

  describe "certificates" do
    test "that expire soon" do
      assert warnings(seen(settings: [expiry_warning: 365])) == [:chain]
      assert warnings(seen(settings: [expiry_warning: nil])) == []
      assert steps(seen()).chain.summary == "1 certificate, valid for 364 days"

      seen = seen(time: seen().time + 366 * 86_400)
      assert %{status: :warning, advice: "Renew it: " <> _} = steps(seen).chain
      assert steps(seen).chain.summary == "1 certificate, expired 2 days ago"

      # What the verdict's step says isn't said twice.
      verdict = {:certificate_expired, %{}}
      seen = seen(time: seen.time, probes: both(probe(tls: [verdict: verdict], cql: nil)))
      assert %{status: :warning, advice: nil} = steps(seen).chain

      seen = seen(time: seen().time + 364 * 86_400 + 1)
      assert steps(seen).chain.summary == "1 certificate, expired less than a day ago"
    end

    test "that are of the future" do
      chain = steps(seen(time: seen().time - 10 * 86_400)).chain
      assert %{status: :warning, summary: "1 certificate, not valid yet"} = chain
      assert "   validity: 2025-12-31 to 2026-12-31, not valid yet" in chain.lines
    end

    test "that can't be decoded" do
      seen = seen(probes: both(probe(tls: [certificates: ["nonsense"]])))
      assert problems(seen) == []
      assert ["1. can't be decoded", "   sha256: " <> _] = steps(seen).chain.lines
    end

    test "that aren't trusted: nothing follows" do
      for kind <- [:unknown_ca, :certificate_expired, :pin_mismatch, :certificate_v1],
          cql <- [nil, [authenticator: nil, login: :not_tried]] do
        verdict = {kind, %{}}
        seen = seen(probes: both(probe(tls: [verdict: verdict], cql: cql)))
        assert problems(seen) == [trust: kind]
        assert steps(seen).name.status == :skipped
        assert steps(seen).login.reason == :not_verified
      end
    end

    test "for another name are trusted" do
      for kind <- [:name_mismatch, :address_mismatch, :no_subject_alt_name] do
        seen = seen(probes: both(probe(tls: [verdict: {kind, %{}}], cql: nil)))
        assert problems(seen) == [name: kind]
        assert steps(seen).trust.status == :ok
        assert steps(seen).login.reason == :not_verified
      end
    end

    test "that nobody verifies" do
      verdict = {:unknown_ca, %{}}
      seen = seen(settings: [verify: :none], probes: both(probe(tls: [verdict: verdict])))
      assert problems(seen) == []
      assert warnings(seen) == [:trust]

      seen = seen(settings: [verified_name: false])
      assert warnings(seen) == [:name]
    end

    test "of ours" do
      for {asked?, sent?, ours?, status, text} <- [
            {true, true, true, :ok, "and sent"},
            {true, false, false, :ok, "none is configured"},
            {true, false, true, :skipped, "not sent"},
            {false, false, true, :ok, "isn't used"},
            {false, false, false, :ok, "not asked for"}
          ] do
        tls = [client_certificate_requested: asked?, client_certificate_sent: sent?]
        seen = seen(settings: [client_certificate: ours?], probes: both(probe(tls: tls)))
        assert %{status: ^status, summary: summary} = steps(seen).client_certificate
        assert summary =~ text
      end
    end
  end

  describe "a handshake that ended after the server's certificates" do
    @unfinished [
      version: nil,
      cipher: nil,
      group: nil,
      handshake: nil,
      duration_us: nil,
      client_certificate_requested: true
    ]

    test "is one with that version" do
      error = {:client_certificate_missing, %{}}
      probe = probe(tls: @unfinished, resumption: nil, cql: nil, error: error)
      seen = seen(probes: both(probe))
      assert problems(seen) == [client_certificate: :client_certificate_missing]
      assert %{status: :ok, lines: [line | _], data: [versions: [data | _]]} = steps(seen).tls
      assert line =~ "TLS 1.3: accepted, but the server wants a certificate"
      assert %{accepted: true, reason: :client_certificate_missing} = Map.new(data)
    end

    test "and wasn't tried with ours, for it isn't trusted" do
      tls = [{:verdict, {:unknown_ca, %{}}} | @unfinished]
      seen = seen(probes: both(probe(tls: tls, resumption: nil, cql: nil)))
      assert problems(seen) == [trust: :unknown_ca]
      assert warnings(seen) == [:client_certificate]
      assert %{status: :ok, lines: [line | _]} = steps(seen).tls
      assert line =~ "TLS 1.3: accepted, but without a client certificate"
      assert steps(seen).resumption.reason == :not_verified
    end
  end

  describe "resumption:" do
    test "none" do
      probes = both(probe(resumption: [tickets: 0, handshake: :full]))
      assert warnings(seen(probes: probes)) == [:resumption]
      assert warnings(seen(probes: probes, settings: [session_cache: false])) == []

      assert steps(seen(probes: probes)).resumption.lines == [
               "TLS 1.3: 0 tickets, the second handshake was a full one",
               "TLS 1.2: no session, the second handshake was a full one"
             ]
    end

    test "with one version, and an error with the other" do
      failed = probe(resumption: [tickets: 1, handshake: nil, error: {:connection_lost, %{}}])
      resumption = steps(seen(probes: ["tlsv1.3": probe([]), "tlsv1.2": failed])).resumption
      assert %{status: :ok, summary: "with TLS 1.3", lines: [_, line]} = resumption
      assert line == "TLS 1.2: a session, the second connection failed: the connection broke"
    end
  end

  describe "CQL:" do
    test "a server without our version" do
      supported = %{"PROTOCOL_VERSIONS" => ["5/v5-beta", "65/dse_v1"]}
      probes = both(probe(cql: [supported: supported]))
      assert problems(seen(probes: probes)) == [protocol: :unsupported_protocol]

      assert problems(seen(probes: both(probe(cql: [supported: %{"CQL_VERSION" => ["3.2"]}])))) ==
               []
    end

    test "the version is the one that a cluster would speak" do
      for {version, compression, names, spoken} <- [
            {nil, nil, ["3/v3", "4/v4", "5/v5", "6/v6-beta"], 5},
            {nil, :snappy, ["3/v3", "4/v4", "5/v5", "6/v6-beta"], 4},
            {nil, nil, ["3/v3", "4/v4", "5/v5-beta"], 4},
            {3, :lz4, ["3/v3", "4/v4"], 3},
            {nil, nil, [], 4},
            {5, nil, ["3/v3", "4/v4"], nil}
          ] do
        protocol = %Protocol{version: version, compression: compression}
        offers = %{"PROTOCOL_VERSIONS" => names, "COMPRESSION" => ["snappy", "lz4"]}
        probes = both(probe(cql: [supported: offers]))
        step = steps(seen(probes: probes, settings: [protocol: protocol])).protocol

        if spoken do
          assert step.summary == "protocol version #{spoken}"
          assert step.data[:protocol_version] == spoken
        else
          assert {step.status, step.reason} == {:problem, :unsupported_protocol}
        end
      end
    end

    test "a compression that isn't offered" do
      probes = both(probe(cql: [supported: %{"COMPRESSION" => ["snappy"]}]))
      settings = [protocol: %Protocol{compression: :lz4}]
      seen = seen(probes: probes, settings: settings)
      assert problems(seen) == [protocol: :unsupported_compression]
      assert steps(seen).protocol.summary =~ ~s{(asked for "lz4"; it offers "snappy")}
    end

    test "a server that asks for no login" do
      probes = both(probe(cql: [authenticator: nil, login: :not_needed]))
      assert warnings(seen(probes: probes)) == [:authenticator, :login]
      assert warnings(seen(probes: probes, settings: [login: false])) == [:authenticator]
    end

    test "a login that isn't given" do
      seen = seen(settings: [login: false], probes: both(probe(cql: [login: :not_tried])))
      assert problems(seen) == []
      assert %{status: :skipped, advice: "Give username:" <> _} = steps(seen).login

      # Nor is it where a certificate was shown, which is no login there.
      required = probe(cql: [login: {:auth_required, %{}}])
      seen = seen(settings: [login: false], probes: both(required))
      assert problems(seen) == []
      assert %{status: :skipped, reason: :no_login} = steps(seen).login

      for {class, words} <- [
            {"org.apache.cassandra.auth.MutualTlsAuthenticator", ["--certfile"]},
            {"com.scylladb.auth.CertificateAuthenticator", ["--certfile"]},
            {"org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator",
             ["--certfile", "--username"]},
            {"com.amazon.helenus.auth.HelenusAuthenticator", ["--sigv4", "--username"]}
          ] do
        probe = probe(cql: [login: :not_tried, authenticator: class])
        advice = steps(seen(settings: [login: false], probes: both(probe))).login.advice
        for word <- words, do: assert(advice =~ word, class)
      end
    end

    test "the mechanism of a login" do
      login = steps(seen()).login
      assert {login.summary, login.data} == {"accepted (PLAIN)", [mechanism: "PLAIN"]}
      assert steps(seen(probes: both(probe(cql: [mechanism: nil])))).login.summary == "accepted"

      failure = {:challenge_malformed, %{detail: "no salt", mechanism: "SCRAM-SHA-256"}}
      probe = probe(cql: [login: failure, mechanism: nil])
      assert steps(seen(probes: both(probe))).login.data == [mechanism: "SCRAM-SHA-256"]
    end

    test "a certificate that is nobody's, and not a password that is wrong" do
      class = "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator"

      advice = fn mechanism, details, by_certificate?, sent? ->
        failure = {:bad_credentials, Map.put(details, :server_message, "no")}
        cql = [authenticator: class, login: failure, mechanism: mechanism]
        probes = both(probe(cql: cql, tls: [client_certificate_sent: sent?]))
        steps(seen(settings: [by_certificate: by_certificate?], probes: probes)).login.advice
      end

      assert advice.("EXTERNAL", %{}, true, true) =~ "ADD IDENTITY"
      assert advice.(nil, %{mechanism: "EXTERNAL"}, true, true) =~ "ADD IDENTITY"
      assert advice.(nil, %{}, true, true) =~ "ADD IDENTITY"
      # With a user name, or where no certificate was asked for.
      refute advice.("PLAIN", %{}, false, true) =~ "ADD IDENTITY"
      refute advice.(nil, %{}, false, true) =~ "ADD IDENTITY"
      refute advice.(nil, %{mechanism: "PLAIN"}, false, false) =~ "ADD IDENTITY"
      refute advice.(nil, %{}, true, false) =~ "ADD IDENTITY"
    end
  end

  test "every step of an error is one that there is" do
    for reason <- ConnectionError.reasons(), do: assert(Stage.of(reason, probe([]), true) in @ids)
  end
end
