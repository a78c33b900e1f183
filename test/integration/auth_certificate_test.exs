defmodule Palladion.Integration.AuthCertificateTest do
  @moduledoc """
  Certificates as logins on a real Cassandra 5, with the fallback to passwords and without it.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.{Clusters, Logins}

  alias Palladion.ConfigError
  alias Palladion.Test.{Authority, Cassandra, Testkit}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag needs_cassandra_5: "logins by certificate"
  @moduletag :capture_log
  @moduletag timeout: 180_000

  # The role that has the identity of `client.crt`, as `bin/cassandra` made it.
  @role "app"

  @password [username: "cassandra", password: "cassandra"]

  defp tls(server, more \\ []) do
    files =
      for {option, file} <- [certfile: "client.crt", keyfile: "client.key"],
          do: {option, Path.join(server.certs_dir, file)}

    [cacertfile: server.cacertfile] ++ Keyword.merge(files, more)
  end

  # A certificate of the same authority, with another identity.
  defp identity!(server, dir, name, uri) do
    [cert, key] = for file <- ["ca.crt", "ca.key"], do: Path.join(server.certs_dir, file)

    {cert, key} =
      dir
      |> Authority.open(cert, key)
      |> Authority.issue!(name,
        extensions: [
          "basicConstraints=CA:FALSE",
          "extendedKeyUsage=clientAuth",
          "subjectAltName=#{uri}"
        ]
      )

    [certfile: cert, keyfile: key]
  end

  setup_all do
    tmp_dir(%{})
  end

  for {variant, class} <- [
        mtlsauth: "org.apache.cassandra.auth.MutualTlsAuthenticator",
        mtlsfallback: "org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator"
      ] do
    describe "#{class}" do
      @describetag variant: variant, class: class

      setup %{variant: variant} do
        server = Cassandra.server(variant)
        %{server: server, admin: ready_cluster!(server, auth: nil, tls: tls(server))}
      end

      for version <- [:"tlsv1.2", :"tlsv1.3"],
          auth <- [nil, [mechanism: :external], [mechanism: :external, require_auth: true]] do
        @tag version: version, auth: auth
        test "#{version}, auth: #{inspect(auth)}: all log in, resumed ones, too", context do
          %{server: server, admin: admin, version: version, auth: auth, class: class} = context
          id = client_id()
          tls = tls(server, versions: [version])
          name = ready_cluster!(server, tls: tls, auth: auth, client_id: id, pool: [size: 4])
          await_connections(name, 5)

          for it <- connections(name),
              do: assert(%{authenticator: ^class, mechanism: "EXTERNAL"} = it)

          assert seen(admin, id) == List.duplicate(@role, 5)
          assert Palladion.query!(name, "SELECT key FROM system.local").num_rows == 1

          assert Palladion.reconnect(name) == :ok

          assert %{handshakes_resumed: resumed, handshakes_failed: 0, logins_refused: 0} =
                   stats(name)

          assert resumed >= 3

          eventually("the server sees as many", fn ->
            seen(admin, id) == List.duplicate(@role, 5)
          end)
        end
      end

      test "an identity that has no role", %{server: server} = context do
        identity = identity!(server, context.tmp_dir, "stranger", "URI:spiffe://test/stranger")
        options = [tls: tls(server, identity), auth: nil]
        error = refused!(server, options, :bad_credentials)
        assert error.details.server_message =~ "spiffe://test/stranger"
      end

      test "a certificate without an identity", %{server: server} = context do
        identity = identity!(server, context.tmp_dir, "nobody", "DNS:nobody.test")
        refused!(server, [tls: tls(server, identity), auth: nil], :bad_credentials)
      end

      test "no certificate: the handshake says so", %{server: server} do
        tls = [cacertfile: server.cacertfile]

        for version <- [:"tlsv1.2", :"tlsv1.3"] do
          refused!(
            server,
            [tls: [versions: [version]] ++ tls, auth: nil],
            :client_certificate_missing
          )
        end

        options = options(server, name: :never, tls: tls, auth: [mechanism: :external])
        assert {:error, %ConfigError{}} = Palladion.start_link(options)
      end

      test "an identity that is taken away, and given back", context do
        %{server: server, admin: admin, tmp_dir: dir} = context
        uri = "spiffe://test/guest-#{context.variant}"
        identity = identity!(server, dir, "guest-#{context.variant}", "URI:#{uri}")
        change!(admin, "CREATE ROLE IF NOT EXISTS guest WITH LOGIN = true")
        change!(admin, "ADD IDENTITY '#{uri}' TO ROLE 'guest'")
        id = client_id()

        name =
          ready_cluster!(
            server,
            soon(tls: tls(server, identity), auth: nil, client_id: id, pool: [size: 1])
          )

        await_connections(name, 2)
        assert seen(admin, id) == ["guest", "guest"]

        change!(admin, "DROP IDENTITY '#{uri}'")
        assert {:error, _} = Palladion.reconnect(name, 5_000)
        await_failure(name, :bad_credentials)
        assert {:ok, _} = Palladion.query(name, "SELECT key FROM system.local")

        change!(admin, "ADD IDENTITY '#{uri}' TO ROLE 'guest'")

        eventually("no attempt fails any more", fn ->
          match?({:ok, %{last_error: nil}}, Palladion.status(name))
        end)

        assert Palladion.reconnect(name) == :ok
        change!(admin, "DROP IDENTITY '#{uri}'")
      end
    end
  end

  describe "with a password beside the certificate" do
    test "MutualTlsAuthenticator gets no password" do
      server = Cassandra.server(:mtlsauth)
      name = ready_cluster!(server, tls: tls(server), auth: @password)
      assert mechanisms(name) == ["EXTERNAL"]
    end

    test "the fallback gets it, and looks at the certificate all the same" do
      server = Cassandra.server(:mtlsfallback)
      id = client_id()

      name =
        ready_cluster!(server, tls: tls(server), auth: @password, client_id: id, pool: [size: 1])

      await_connections(name, 2)
      assert mechanisms(name) == ["PLAIN"]
      assert seen(name, id) == [@role, @role]
    end

    test "and without one the password is what counts" do
      server = Cassandra.server(:mtlsfallback)
      plain = [allow_plaintext_password: true]
      id = client_id()

      name =
        ready_cluster!(server,
          tls: false,
          auth: @password ++ plain,
          client_id: id,
          pool: [size: 1]
        )

      await_connections(name, 2)
      assert mechanisms(name) == ["PLAIN"]
      assert seen(name, id) == ["cassandra", "cassandra"]

      wrong = [username: "cassandra", password: "wrong"] ++ plain
      refused!(server, [tls: false, auth: wrong], :bad_credentials)
      refused!(server, [tls: false, auth: nil], :auth_required)
    end
  end
end

defmodule Palladion.Integration.AuthCertificateScriptedTest do
  @moduledoc """
  Certificates as logins where a server says READY at once, and ScyllaDB's class.
  """

  use ExUnit.Case, async: true

  import Palladion.Test.{Clusters, Logins}

  alias Palladion.Test.Testkit

  @moduletag :capture_log

  @scylla "com.scylladb.auth.CertificateAuthenticator"

  defp start_server(options) do
    Testkit.start_server([method: :certificate, role: "app", client_auth: :optional] ++ options)
  end

  defp tls(server) do
    [
      cacertfile: server.cacertfile,
      certfile: server.client_certfile,
      keyfile: server.client_keyfile
    ]
  end

  for auth <- [nil, [mechanism: :external]], more <- [[], [authenticator: @scylla]] do
    @tag auth: auth, more: more
    test "AUTHENTICATE #{more[:authenticator]}, auth: #{inspect(auth)}", context do
      server = start_server(context.more)
      options = [tls: tls(server), auth: context.auth, pool: [size: 1]]
      name = ready_cluster!(server, options)
      await_connections(name, 2)
      assert mechanisms(name) == ["EXTERNAL"]
      for it <- Testkit.connections(server), it.open, do: assert(it.user == "app")

      tls = [cacertfile: server.cacertfile]
      refused!(server, [tls: tls, auth: nil], :client_certificate_missing)
    end
  end

  test "READY at once, with nothing configured" do
    server = start_server(ready: true)
    name = ready_cluster!(server, tls: tls(server), auth: nil, pool: [size: 1])
    await_connections(name, 2)
    assert mechanisms(name) == [nil]
    for it <- Testkit.connections(server), it.open, do: assert(it.client_cert)
    # Where the certificate is configured as the login, that is what it is.
    ready_cluster!(server, tls: tls(server), auth: [mechanism: :external])
  end

  test "READY at once, with a login configured: a question of require_auth" do
    server = start_server(ready: true)
    password = [username: "ann", password: "secret"]
    refused!(server, [tls: tls(server), auth: password], :auth_not_requested)

    auth = [require_auth: false] ++ password
    ready_cluster!(server, tls: tls(server), auth: auth)
  end

  test "a password as fallback" do
    server = start_server(fallback: true, user: "ann", password: "secret")
    auth = [username: "ann", password: "secret"]
    name = ready_cluster!(server, tls: [cacertfile: server.cacertfile], auth: auth)
    assert mechanisms(name) == ["PLAIN"]
    assert %{user: "ann"} = last_login(server)
  end
end
