defmodule Palladion.Integration.AuthGuideCustomTest do
  @moduledoc """
  The authenticator and the configuration of `guides/auth-custom.md`, as they stand there, with a server.
  """

  # The configuration reads an environment variable.
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters, except: [options: 2]
  import Palladion.Test.Logins

  alias Palladion.Test.{Guide, Testkit}

  @moduletag :capture_log

  @password "correct horse battery staple"

  setup_all do
    Guide.compile("auth-custom")
    [client] = Guide.configurations("auth-custom")
    %{client: client}
  end

  setup do
    System.put_env("CASSANDRA_PASSWORD", @password)
    on_exit(fn -> System.delete_env("CASSANDRA_PASSWORD") end)
  end

  defp start_server(changes) do
    login = [
      method: :scram_sha_256,
      user: "my_app",
      password: @password,
      authenticator: "com.example.ScramAuthenticator"
    ]

    login |> Keyword.merge(changes) |> Testkit.start_server()
  end

  defp options(client, server) do
    options = Guide.options(client, "/etc/my_app/ca.crt": server.cacertfile)
    points = for host <- options[:contact_points], do: {host, server.port}
    Keyword.put(options, :contact_points, points)
  end

  for final <- [:success, :challenge] do
    test "logs in, where the server's proof comes with a #{final}", %{client: client} do
      server = start_server(final: unquote(final))
      name = ready_cluster!(server, options(client, server))
      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
      assert mechanisms(name) == ["custom"]
      assert Enum.any?(Testkit.connections(server), &(&1.user == "my_app"))
    end
  end

  test "a server without the right proof gets no query", %{client: client} do
    for message <- ["wrong", "missing"] do
      server = start_server(last_message: message)
      error = refused!(server, options(client, server), :authenticator_failed)
      assert Exception.message(error) =~ ~r/doesn't know the password|proves nothing/
      assert %{query: 0} = Testkit.counters(server)
    end
  end

  test "another password is refused, another server gets none", %{client: client} do
    server = start_server(password: "another")
    refused!(server, options(client, server), :bad_credentials)

    server = start_server(authenticator: "com.example.Other")
    refused!(server, options(client, server), :authenticator_failed)
    assert %{auth_response: 0} = Testkit.counters(server)
  end
end
