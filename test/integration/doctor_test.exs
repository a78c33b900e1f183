defmodule Palladion.Integration.DoctorTest do
  @moduledoc """
  The doctor with servers: each finding is that of the server that has it.
  """

  use ExUnit.Case, async: true

  alias Palladion.Doctor
  alias Palladion.Doctor.Report
  alias Palladion.Test.{Authenticators, Cassandra, JSON, Testkit}
  alias Palladion.Test.Testkit.AWS

  defp run(server, options \\ []) do
    options = Keyword.put_new(options, :tls, cacertfile: server.cacertfile)
    Doctor.run(server.host, server.port, options)
  end

  defp step(report, id), do: Enum.find(report.steps, &(&1.id == id))
  defp problems(report), do: for(%{status: :problem} = s <- report.steps, do: {s.id, s.reason})

  defp login(password), do: [username: "ann", password: password]

  defp both(server) do
    [
      cacertfile: server.cacertfile,
      certfile: server.client_certfile,
      keyfile: server.client_keyfile
    ]
  end

  describe "a scripted server" do
    test "with which all is well" do
      server = Testkit.start_server(user: "ann", password: "secret")
      report = run(server, auth: login("secret"))
      assert problems(report) == []
      assert Report.exit_code(report) == 0

      assert [%{sha256: fingerprint, names: names}] =
               for(c <- step(report, :chain).data[:certificates], do: Map.new(c))

      [{:Certificate, der, _}] =
        server.server_certfile |> File.read!() |> :public_key.pem_decode()

      assert fingerprint == Base.encode16(:crypto.hash(:sha256, der), case: :lower)
      assert [kind: :dns, name: "localhost"] in names

      versions = for v <- step(report, :tls).data[:versions], do: {v[:version], v[:accepted]}
      assert {:"tlsv1.3", true} in versions and {:"tlsv1.2", true} in versions
      for {version, accepted} <- versions, version in [:tlsv1, :"tlsv1.1"], do: refute(accepted)

      for resumed <- step(report, :resumption).data[:versions],
          do: assert(resumed[:handshake] == :resumed)

      assert step(report, :login).summary == "accepted (PLAIN)"
      # One login, however many connections.
      assert %{logins: 1} = Testkit.counters(server)
      assert %{"ok" => true} = report |> Report.to_json() |> JSON.decode!()
    end

    test "that gives no tickets" do
      server = Testkit.start_server(tls: ["1.3"], tickets: 0)
      assert %{status: :warning} = resumption = server |> run() |> step(:resumption)

      assert [[version: :"tlsv1.3", tickets: 0, handshake: :full, reason: nil]] =
               resumption.data[:versions]
    end

    test "with one version of TLS" do
      server = Testkit.start_server(tls: ["1.2"])
      report = run(server)
      assert problems(report) == []
      assert step(report, :tls).summary == "TLS 1.2"

      only_other = [cacertfile: server.cacertfile, versions: [:"tlsv1.3"]]
      assert problems(run(server, tls: only_other)) == [tls: :tls_version]
    end

    test "whose certificate isn't trusted gets no password, and is shown" do
      server = Testkit.start_server(user: "ann", password: "secret")

      report = run(server, tls: [cacertfile: server.other_cacertfile], auth: login("secret"))

      assert problems(report) == [trust: :unknown_ca]
      assert [_certificate] = step(report, :chain).data[:certificates]
      assert step(report, :login).reason == :not_verified
      assert %{logins: 0} = Testkit.counters(server)
    end

    test "whose certificate is another's, or out of date" do
      server = Testkit.start_server(cert: ["other.example"])
      assert problems(run(server)) == [name: :name_mismatch]

      server = Testkit.start_server(validity: :expired)
      assert problems(run(server)) == [trust: :certificate_expired]
    end

    test "that wants a client certificate" do
      server = Testkit.start_server(client_auth: :required)

      assert [client_certificate: reason] = problems(run(server))
      assert reason in [:client_certificate_missing, :certificate_rejected]

      report = run(server, tls: both(server))
      assert problems(report) == []
      assert step(report, :client_certificate).data == [requested: true, sent: true]
    end

    test "that wants a client certificate, and neither side trusts the other's" do
      server = Testkit.start_server(client_auth: :required, tls: ["1.2"])

      others = [
        certfile: server.other_client_certfile,
        keyfile: server.other_client_keyfile
      ]

      report = run(server, tls: [cacertfile: server.cacertfile] ++ others)
      assert problems(report) == [client_certificate: :certificate_rejected]

      # The handshake can't end then, and is told of all the same.
      report = run(server, tls: [cacertfile: server.other_cacertfile] ++ others)
      assert problems(report) == [trust: :unknown_ca]
      assert step(report, :tls).summary == "TLS 1.2"
      assert step(report, :client_certificate).data == [requested: true, sent: false]
      assert [_certificate] = step(report, :chain).data[:certificates]
    end

    test "with a cipher suite that the configuration doesn't allow" do
      server =
        Testkit.start_server(tls: ["1.2"], ciphers: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"])

      tls = [cacertfile: server.cacertfile, ciphers: ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]]

      assert problems(run(server, tls: [versions: [:"tlsv1.2"]] ++ tls)) == [
               tls: :cipher_mismatch
             ]
    end

    test "that refuses the login" do
      server = Testkit.start_server(user: "ann", password: "secret")
      report = run(server, auth: login("hunter2"))
      assert problems(report) == [login: :bad_credentials]

      for text <- [Report.to_text(report), Report.to_json(report)],
          do: refute(text =~ "hunter2")

      assert %{status: :skipped} = server |> run() |> step(:login)
    end

    test "without TLS, asked for it and not" do
      server = Testkit.start_server(tls: false)
      options = [tls: [cacertfile: Testkit.start_server().cacertfile]]
      assert problems(run(server, options)) == [tls: :not_tls]
      assert problems(run(server, tls: false)) == []
    end

    test "with TLS, asked for none" do
      assert problems(run(Testkit.start_server(), tls: false)) == [tls: :server_requires_tls]
    end

    test "that is gone" do
      server = Testkit.start_server()
      Testkit.refuse(server)
      assert problems(run(server)) == [tcp: :connection_refused]
    end
  end

  describe "a login" do
    test "by another mechanism" do
      login = [user: "ann", password: "secret"]
      server = Testkit.start_server([method: :scram_sha_256] ++ login)
      scram = &([mechanism: :scram_sha_256] ++ login(&1))
      report = run(server, auth: scram.("secret"))
      assert step(report, :login).summary == "accepted (SCRAM-SHA-256)"
      assert step(report, :login).data == [mechanism: "SCRAM-SHA-256"]
      assert problems(run(server, auth: scram.("hunter2"))) == [login: :bad_credentials]

      server = Testkit.start_server([method: :scram_sha_256, last_message: :wrong] ++ login)
      assert problems(run(server, auth: scram.("secret"))) == [login: :server_not_authentic]
    end

    test "whose function is asked, and fails" do
      server = Testkit.start_server(user: "ann", password: "secret")
      test = self()

      credentials = fn endpoint ->
        send(test, {:asked, endpoint.host, endpoint.port})
        login("secret")
      end

      report = run(server, auth: [credentials: credentials])
      assert step(report, :login).summary == "accepted (PLAIN)"
      assert_received {:asked, "localhost", port} when port == server.port
      # It logs in once.
      refute_received {:asked, _host, _port}

      for {answer, words} <- [
            {fn -> {:error, "the vault is sealed"} end, "the vault is sealed"},
            {fn -> raise "hunter2" end, "RuntimeError"}
          ] do
        report = run(server, auth: [credentials: fn _endpoint -> answer.() end])
        assert problems(report) == [login: :credentials_failed]
        assert step(report, :login).summary =~ words
        refute Report.to_text(report) =~ "hunter2"
      end
    end

    test "by an authenticator of the user's" do
      login = [method: :cram_md5, user: "ann", password: "secret"]
      server = Testkit.start_server([authenticator: "com.example.Own"] ++ login)

      custom = &[authenticator: {Authenticators.CramMD5, {"ann", &1}}]
      assert step(run(server, auth: custom.("secret")), :login).summary == "accepted (custom)"
      assert problems(run(server, auth: custom.("hunter2"))) == [login: :bad_credentials]
    end

    test "by signature" do
      AWS.access_key(access_key_id: "AKIADOCTOR", secret: "secret")
      server = Testkit.start_server(method: :sigv4, region: "eu-west-1")
      keys = &[region: "eu-west-1", access_key_id: "AKIADOCTOR", secret_access_key: &1]
      report = run(server, auth: [sigv4: keys.("secret")])
      assert step(report, :login).summary == "accepted (SigV4)"

      report = run(server, auth: [sigv4: keys.("hunter2")])
      assert problems(report) == [login: :signature_refused]
      refute Report.to_text(report) =~ "hunter2"
      assert step(run(server), :login).advice =~ "--sigv4"
    end

    test "by certificate" do
      class = "org.apache.cassandra.auth.MutualTlsAuthenticator"

      server =
        Testkit.start_server(method: :certificate, client_auth: :optional, authenticator: class)

      report = run(server, tls: both(server))
      assert problems(report) == []
      assert step(report, :login).summary == "accepted (EXTERNAL)"
      assert step(run(server), :login).advice =~ "the certificate is the login"
    end

    test "by certificate, where it is none" do
      server = Testkit.start_server(client_auth: :optional, user: "ann", password: "secret")
      report = run(server, tls: both(server))
      assert problems(report) == []
      assert %{status: :skipped, reason: :no_login} = step(report, :login)
      assert step(report, :client_certificate).data[:sent]
    end

    test "by password, where a certificate would do" do
      login = [fallback: true, user: "ann", password: "secret"]
      class = "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator"
      server = Testkit.start_server([method: :certificate, authenticator: class] ++ login)
      report = run(server, auth: login("hunter2"))
      assert problems(report) == [login: :bad_credentials]
      refute step(report, :login).advice =~ "ADD IDENTITY"
    end
  end

  describe "Cassandra" do
    @describetag :cassandra

    test "with TLS and passwords" do
      server = Cassandra.server()
      auth = [username: server.username, password: server.password]
      report = run(server, auth: auth)
      assert problems(report) == []
      assert "lz4" in step(report, :protocol).data[:compression]
      assert step(report, :authenticator).summary =~ "PasswordAuthenticator"
      assert step(report, :login).summary == "accepted (PLAIN)"
      refute Report.to_text(report) =~ "password: #{server.password}"
    end

    @tag :managed_server
    test "that wants client certificates" do
      server = Cassandra.server(:mtls)
      assert [{:client_certificate, _reason}] = problems(run(server))

      tls = [
        cacertfile: server.cacertfile,
        certfile: Path.join(server.certs_dir, "client.crt"),
        keyfile: Path.join(server.certs_dir, "client.key")
      ]

      report = run(server, tls: tls)
      assert problems(report) == []
      assert step(report, :client_certificate).data == [requested: true, sent: true]
    end

    @tag :managed_server
    test "without TLS" do
      server = Cassandra.server(:plain)
      assert problems(run(server, tls: false)) == []
    end
  end
end
