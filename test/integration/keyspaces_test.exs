defmodule Palladion.Integration.KeyspacesTest do
  @moduledoc """
  `profile: :keyspaces` against a server that has Amazon Keyspaces' manners: one certificate for the endpoint's name behind
  several addresses, throttling that looks like timeouts, a schema that changes later than it says.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.{ConnectionError, Error}
  alias Palladion.Test.{TelemetryEvents, Testkit}
  alias Palladion.Test.Testkit.Porter

  @moduletag :capture_log

  @endpoint "cassandra.us-east-1.amazonaws.com"
  @login [
    user: "app-at-1234",
    password: "generated",
    authenticator: "com.amazon.helenus.auth.HelenusAuthenticator"
  ]
  @write "INSERT void(int)"
  @write_timeout {:error,
                  code: 0x1100,
                  message: "throttled",
                  consistency: :local_quorum,
                  received: 0,
                  required: 2,
                  write_type: "SIMPLE"}

  defp service(options) do
    Testkit.start_cluster!(
      options ++
        [
          nodes: 3,
          cert: [@endpoint],
          datacenter: "us-east-1",
          release_version: "3.11.2",
          peers_v2: false
        ]
    )
  end

  # As one would reach it through a tunnel: the place is another one, and the name stays.
  defp through_a_tunnel(server, given) do
    tls = [cacertfile: server.cacertfile, verify_hostname: @endpoint]
    Keyword.merge([profile: :keyspaces, tls: tls], given)
  end

  defp follow(server, given \\ []), do: follow!(server, through_a_tunnel(server, given))

  describe "the service's addresses" do
    test "are verified by the endpoint's name, and asked for it" do
      server = service(@login)
      name = follow(server)
      assert serving(name) == server.nodes

      {:ok, %{endpoints: endpoints}} = Palladion.status(name)

      for endpoint <- endpoints, connection <- endpoint.connections do
        assert connection.tls.verified_name == @endpoint
      end

      connections = Testkit.connections(server)
      assert connections |> Enum.map(& &1.server_name) |> Enum.uniq() == [@endpoint]
      assert connections |> Enum.map(& &1.user) |> Enum.uniq() == ["app-at-1234"]
    end

    test "are refused where the name is another one" do
      server = service(@login)
      tls = [cacertfile: server.cacertfile]
      name = start_cluster!(server, hurried(through_a_tunnel(server, tls: tls)))

      assert {:error, %ConnectionError{reason: :no_connection, details: details}} =
               Palladion.query(name, "SELECT numbers(1)", [], timeout: 500)

      assert {:name_mismatch, _fields} = details.last_error
    end

    test "are refused with the roots that come with the package, of which none signed this" do
      server = service(@login)
      tls = [verify_hostname: @endpoint]
      name = start_cluster!(server, hurried(through_a_tunnel(server, tls: tls)))

      assert {:error, %ConnectionError{reason: :no_connection, details: details}} =
               Palladion.query(name, "SELECT numbers(1)", [], timeout: 500)

      assert {:unknown_ca, _fields} = details.last_error
    end
  end

  describe "throttling" do
    setup do
      server = service(@login)
      %{server: server, name: follow(server, timeout: 5_000)}
    end

    test "the same node, a moment later, where that does no harm", %{server: server, name: name} do
      Testkit.rule(server, contains: @write, times: 3, reaction: @write_timeout)

      events =
        TelemetryEvents.capture(fn ->
          assert {:ok, _} = Palladion.query(name, @write, [], idempotent: true)
        end)

      retries = for {[:palladion, :query, :retry], _, retry} <- events, do: retry
      assert [:retry_same, :retry_same, :retry_same] = for(retry <- retries, do: retry.decision)
      assert [_same] = retries |> Enum.map(& &1.address) |> Enum.uniq()
    end

    test "else the error is the caller's", %{server: server, name: name} do
      Testkit.rule(server, contains: @write, times: 1, reaction: @write_timeout)
      assert {:error, %Error{reason: :write_timeout}} = Palladion.query(name, @write)
    end
  end

  describe "a change of the schema" do
    setup do
      server = service(@login ++ [nodes: 1])
      name = follow(server, schema_agreement: [interval: 20, timeout: 2_000])
      %{server: server, name: name}
    end

    defp changed(change, target, names) do
      texts = IO.iodata_to_binary(for text <- [change, target | names], do: string(text))
      <<5::32, texts::binary>>
    end

    defp string(text), do: <<byte_size(text)::16, text::binary>>

    defp status(server, table, row, more \\ []) do
      reaction = {:rows, columns: "status text", rows: row}
      Testkit.rule(server, [contains: "system_schema_mcs.#{table}", reaction: reaction] ++ more)
    end

    test "is waited for until the table is active", %{server: server, name: name} do
      answer = {:frame, body: changed("CREATED", "TABLE", ["shop", "orders"])}
      Testkit.rule(server, contains: "CREATE TABLE", reaction: answer)
      status(server, "tables", "", times: 1)
      status(server, "tables", "('CREATING')", times: 2)
      status(server, "tables", "('ACTIVE')")
      before = Testkit.counters(server).query

      assert %{schema_agreement: true} = Palladion.query!(name, "CREATE TABLE shop.orders (…)")
      # Other questions may be about the nodes.
      assert Testkit.counters(server).query >= before + 5
    end

    test "is waited for until the table is gone", %{server: server, name: name} do
      answer = {:frame, body: changed("DROPPED", "TABLE", ["shop", "orders"])}
      Testkit.rule(server, contains: "DROP TABLE", reaction: answer)
      status(server, "tables", "('DELETING')", times: 2)
      status(server, "tables", "")

      assert %{schema_agreement: true} = Palladion.query!(name, "DROP TABLE shop.orders")
    end

    test "is not waited for longer than asked for", %{server: server} do
      answer = {:frame, body: changed("UPDATED", "TABLE", ["shop", "orders"])}
      Testkit.rule(server, contains: "ALTER TABLE", reaction: answer)
      status(server, "tables", "('UPDATING')")
      name = follow(server, schema_agreement: [interval: 20, timeout: 100])

      assert %{schema_agreement: false} = Palladion.query!(name, "ALTER TABLE shop.orders …")
    end
  end

  describe "a signed login" do
    test "with keys of the configuration" do
      key = %{access_key_id: "AKIAKEYSPACES", secret: "between+us"}
      server = service(method: :sigv4, region: "us-east-1")
      Porter.command("access_key", Map.to_list(key))

      sigv4 = [
        region: "US-East-1",
        access_key_id: key.access_key_id,
        secret_access_key: key.secret
      ]

      name = follow(server, auth: [sigv4: sigv4])
      assert serving(name) == server.nodes
      {:ok, %{endpoints: [%{connections: [connection | _]} | _]}} = Palladion.status(name)
      assert connection.mechanism == "SigV4"
    end
  end
end
