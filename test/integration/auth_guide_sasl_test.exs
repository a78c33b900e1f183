defmodule Palladion.Integration.AuthGuideSASLTest do
  @moduledoc """
  Each configuration of `guides/auth-sasl.md` logs in, and by the mechanism that it names.
  """

  # The configurations read an environment variable.
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters, except: [options: 2]
  import Palladion.Test.Logins

  alias Palladion.Test.{Certificates, Guide, Testkit}

  @moduletag :capture_log

  @password "correct horse battery staple"

  setup do
    System.put_env("CASSANDRA_PASSWORD", @password)
    on_exit(fn -> System.delete_env("CASSANDRA_PASSWORD") end)
    Certificates.tmp_dir(%{})
  end

  @clients Guide.configurations("auth-sasl")

  test "there are as many clients as the guide means to have" do
    assert length(@clients) == 7
  end

  for {client, n} <- Enum.with_index(@clients, 1) do
    @tag client: client
    test "each of the guide's clients logs in: #{n}", %{client: client, tmp_dir: dir} do
      {server, options} = server(client, dir)
      name = ready_cluster!(server, options)
      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows

      expected = options[:auth][:mechanism] |> List.wrap() |> hd() |> wire_name()
      assert mechanisms(name) == [expected]
      assert {expected, user(expected)} in logins(server)
    end
  end

  test "of what is negotiated, the first that the server has" do
    [client] = for client <- @clients, client =~ "[:scram_sha_256, :plain]", do: client
    server = start_server(mechanisms: ["PLAIN"], user: "my_app", password: @password)
    name = ready_cluster!(server, options(client, server))
    assert mechanisms(name) == ["PLAIN"]

    server = start_server(mechanisms: ["DIGEST-MD5"], user: "my_app", password: @password)
    refused!(server, options(client, server), :mechanism_refused)
  end

  test "a server that doesn't know the password gets no query" do
    [client | _] = @clients

    for message <- ["wrong", "missing"] do
      server =
        start_server(
          method: :scram_sha_256,
          user: "my_app",
          password: @password,
          last_message: message
        )

      refused!(server, options(client, server), :server_not_authentic)
      assert %{query: 0} = Testkit.counters(server)
    end
  end

  defp server(client, dir) do
    # Which server it takes is known when its mechanism is; where the server is, then.
    mechanism = Guide.options(client)[:auth][:mechanism]
    server = start_server(login(mechanism))
    secret = Path.join(dir, "cassandra_password")
    File.write!(secret, @password <> "\n")
    places = places(server) ++ ["/run/secrets/cassandra_password": secret]
    {server, client |> Guide.options(places) |> at(server)}
  end

  defp login(mechanisms) when is_list(mechanisms),
    do: [mechanisms: Enum.map(mechanisms, &wire_name/1), user: "my_app", password: @password]

  defp login(:external), do: [method: :external, user: "my_app", client_auth: :required]
  defp login(:anonymous), do: [method: :anonymous]
  defp login(mechanism), do: [method: mechanism, user: "my_app", password: @password]

  defp start_server(login),
    do: Testkit.start_server([authenticator: "com.example.SaslAuthenticator"] ++ login)

  defp options(client, server), do: client |> Guide.options(places(server)) |> at(server)

  defp places(server) do
    [
      "/etc/my_app/ca.crt": server.cacertfile,
      "/etc/my_app/client.crt": server.client_certfile,
      "/etc/my_app/client.key": server.client_keyfile
    ]
  end

  defp at(options, server) do
    points = for host <- options[:contact_points], do: {host, server.port}
    Keyword.put(options, :contact_points, points)
  end

  defp wire_name(mechanism),
    do: mechanism |> Atom.to_string() |> String.upcase() |> String.replace("_", "-")

  defp user("ANONYMOUS"), do: nil
  defp user(_mechanism), do: "my_app"

  defp logins(server) do
    for connection <- Testkit.connections(server) do
      {connection.mechanism, if(connection.user == "my_app", do: "my_app")}
    end
  end
end
