defmodule Palladion.Integration.ConnectionTest do
  @moduledoc """
  What is verified by default, and what is said when it fails.
  """

  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import Palladion.Test.Clusters

  alias Palladion.ConnectionError
  alias Palladion.Test.{Cassandra, Testkit}

  # The reason why a cluster has no connection, as a caller learns it.
  defp reason(server, options) do
    {result, _log} =
      with_log(fn ->
        name = start_cluster!(server, options)

        eventually("an attempt failed", fn ->
          match?({:ok, %{last_error: %ConnectionError{}}}, Palladion.status(name))
        end)

        result = Palladion.await_ready(name, 50)
        queried = Palladion.query(name, "SELECT 1", [], timeout: 200)
        assert {:error, %ConnectionError{reason: :no_connection}} = queried
        stop_supervised!(name)
        result
      end)

    assert {:error, %ConnectionError{reason: :no_connection} = error} = result
    assert {reason, _fields} = error.details.last_error
    message = Exception.message(error)
    # What happened, where, and what to do next.
    assert message =~ "#{server.port}"
    assert String.length(message) > 60
    reason
  end

  describe "with a real server" do
    @describetag :cassandra

    setup do
      %{server: Cassandra.server()}
    end

    test "the chain and the name are verified by default", %{server: server} do
      name = ready_cluster!(server)
      {:ok, status} = Palladion.status(name)
      assert %{phase: :ready, last_error: nil, endpoints: [endpoint]} = status
      assert [%{tls: tls, authenticator: authenticator} | _] = endpoint.connections
      assert tls.verified_name == server.host
      assert tls.version in [:"tlsv1.2", :"tlsv1.3"]
      assert authenticator =~ "PasswordAuthenticator"
      assert [der | _] = endpoint.certificates
      assert {:OTPCertificate, _, _, _} = :public_key.pkix_decode_cert(der, :otp)
    end

    @tag :managed_server
    test "a certificate of another authority", %{server: server} do
      tls = [cacertfile: server.other_cacertfile]
      assert reason(server, tls: tls) == :unknown_ca
    end

    test "a certificate for another name", %{server: server} do
      tls = [cacertfile: server.cacertfile, server_name_indication: "elsewhere.example"]
      assert reason(server, tls: tls) == :name_mismatch
    end

    test "a wrong password", %{server: server} do
      auth = [username: server.username, password: "not the password"]
      assert reason(server, auth: auth) == :bad_credentials
    end

    test "no login where one is asked for", %{server: server} do
      assert reason(server, auth: nil) == :auth_required
    end

    @tag :managed_server
    test "an unchecked name is said once and still needs the chain", %{server: server} do
      log =
        capture_log(fn ->
          tls = [cacertfile: server.cacertfile, verify_hostname: false]
          name = ready_cluster!(server, tls: tls)
          {:ok, %{endpoints: [%{connections: [%{tls: tls} | _]}]}} = Palladion.status(name)
          assert tls.verified_name == nil
        end)

      assert log =~ "tls.verify_hostname"

      tls = [cacertfile: server.other_cacertfile, verify_hostname: false]
      assert reason(server, tls: tls) == :unknown_ca
    end

    test "TLS 1.2 and TLS 1.3", %{server: server} do
      for version <- [:"tlsv1.2", :"tlsv1.3"] do
        name = ready_cluster!(server, tls: [cacertfile: server.cacertfile, versions: [version]])
        {:ok, %{endpoints: [%{connections: [%{tls: tls} | _]}]}} = Palladion.status(name)
        assert tls.version == version
      end
    end

    @tag needs_cassandra_5: "sessions of TLS 1.3: 4.1 gives no tickets"
    test "later connections resume the first one's session", %{server: server} do
      for version <- [:"tlsv1.2", :"tlsv1.3"] do
        name =
          ready_cluster!(server,
            tls: [cacertfile: server.cacertfile, versions: [version]],
            pool: [size: 4]
          )

        stats = fn -> elem({:ok, _} = Palladion.stats(name), 1) end
        eventually("four connections", fn -> stats.().connections_opened == 4 end)
        # A full one for the control connection, which went to the contact point, and one for
        # the node.
        assert %{handshakes_full: 2, handshakes_resumed: 3} = stats.()
        assert :ok = Palladion.reconnect(name, 30_000)
        assert %{handshakes_full: 2, handshakes_resumed: 7} = stats.()
      end
    end

    test "the other end sees the driver's name", %{server: server} do
      name = ready_cluster!(server, client_id: "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11")

      case Palladion.query(name, "SELECT driver_name, driver_version FROM system_views.clients") do
        {:ok, result} ->
          assert %{"driver_name" => "Palladion", "driver_version" => version} =
                   Enum.find(result, &(&1["driver_name"] == "Palladion"))

          assert version == to_string(Application.spec(:palladion, :vsn))

        # ScyllaDB has another table for it.
        {:error, %Palladion.Error{reason: :invalid}} ->
          :ok
      end
    end
  end

  describe "with a scripted server" do
    test "an expired certificate" do
      assert reason(Testkit.start_server(validity: :expired), []) == :certificate_expired
      assert reason(Testkit.start_server(validity: :not_yet), []) == :certificate_not_yet_valid
    end

    test "ports that speak another language" do
      plain = Testkit.start_server(tls: false)
      secure = Testkit.start_server()
      assert reason(plain, tls: [cacertfile: secure.cacertfile]) == :not_tls
      assert reason(secure, tls: false) in [:server_requires_tls, :connection_closed]
    end

    test "nobody there, and a name that doesn't exist" do
      server = Testkit.start_server()
      Testkit.refuse(server)
      assert reason(server, []) == :connection_refused
      assert reason(%{server | host: "no-such-host.invalid"}, []) == :dns_failed
    end

    test "a silent server" do
      server = Testkit.start_server(tls: false)
      Testkit.pause(server)
      assert reason(server, login_timeout: 100) == :login_timeout
      secure = Testkit.start_server()
      Testkit.pause(secure)
      assert reason(secure, tls_timeout: 100) == :tls_timeout
    end

    test "a server that asks for no login" do
      server = Testkit.start_server()
      assert reason(server, auth: [username: "a", password: "b"]) == :auth_not_requested
    end

    test "the system's roots are the default, and don't have our CA" do
      server = Testkit.start_server()
      assert reason(server, tls: true) == :unknown_ca
    end

    test "a failure is logged once, not at every attempt" do
      server = Testkit.start_server(user: "ada", password: "right")

      log =
        capture_log(fn ->
          name =
            start_cluster!(server,
              auth: [username: "ada", password: "wrong"],
              reconnect: [min: 20, max: 40]
            )

          eventually("five attempts", fn ->
            {:ok, stats} = Palladion.stats(name)
            stats.logins_refused >= 5
          end)
        end)

      assert [_once] = Regex.scan(~r/localhost:#{server.port}/, log)
      refute log =~ "wrong"
    end
  end
end
