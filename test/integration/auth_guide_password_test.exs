defmodule Palladion.Integration.AuthGuidePasswordTest do
  @moduledoc """
  What `guides/auth-password.md` says is done as it stands there: Cassandra has its configuration and its roles, each of its clients
  logs in, and its password is changed.
  """

  # The configurations read environment variables, and the cluster's name is that of the guide.
  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.Clusters, except: [options: 2]
  import Palladion.Test.Logins

  alias Palladion.Test.{Cassandra, Guide, Testkit}

  @moduletag :capture_log

  @password "correct horse battery staple"
  @clients Guide.configurations("auth-password")

  setup_all do
    Guide.compile("auth-password")
    :ok
  end

  setup do
    System.put_env("CASSANDRA_PASSWORD", @password)
    System.put_env("PASSWORD_OF_127.0.0.1", @password)

    Application.put_env(:my_app, :vault, fn "database/my_app" ->
      {:ok, %{"username" => "my_app", "password" => @password}}
    end)

    on_exit(fn ->
      System.delete_env("CASSANDRA_PASSWORD")
      System.delete_env("PASSWORD_OF_127.0.0.1")
      Application.delete_env(:my_app, :vault)
    end)
  end

  test "there are as many clients as the guide means to have" do
    assert length(@clients) == 6
    assert length(Guide.blocks("auth-password", "cql")) == 2
  end

  test "the one without TLS" do
    server = Testkit.start_server(tls: false, user: "my_app", password: @password)
    [client] = for client <- @clients, client =~ "tls: false", do: client
    points = for host <- Guide.options(client)[:contact_points], do: {host, server.port}
    ready_cluster!(server, Keyword.put(Guide.options(client), :contact_points, points))
    assert Enum.any?(Testkit.connections(server), &(&1.user == "my_app"))
  end

  describe "Cassandra" do
    @describetag :cassandra
    @describetag :managed_server

    setup do
      server = Cassandra.server(:tls)
      %{server: server, admin: ready_cluster!(server)}
    end

    test "has the guide's configuration and roles, and each client logs in, also with a new password",
         %{server: server, admin: admin} do
      [yaml] = Guide.blocks("auth-password", "yaml")
      assert Guide.lines(yaml) -- (server |> Cassandra.yaml() |> Guide.lines()) == []

      keyspace!(admin, "shop")
      [roles, altered] = Guide.blocks("auth-password", "cql")
      run(admin, roles)

      %{tmp_dir: dir} = tmp_dir(%{})
      places = files(dir) ++ ["/etc/my_app/ca.crt": server.cacertfile]

      for client <- @clients, not (client =~ "tls: false") do
        name = ready_cluster!(server, client |> Guide.options(places) |> at(server))
        assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
        assert mechanisms(name) == ["PLAIN"]
        assert "my_app" in users(admin)
        :ok = Palladion.stop(name)
      end

      [client | _] = @clients
      options = client |> Guide.options(places) |> at(server)
      start_supervised!({Palladion, [name: MyApp.DB] ++ options})
      :ok = Palladion.await_ready(MyApp.DB, 20_000)

      run(admin, altered)
      [calls] = Guide.calls("auth-password")
      {:ok, _bindings} = Code.eval_string(calls)
      assert [_] = Palladion.query!(MyApp.DB, "SELECT release_version FROM system.local").rows

      assert connections(MyApp.DB) != []
    end
  end

  # What the guide's paths stand for.
  defp files(dir) do
    secret = Path.join(dir, "cassandra_password")
    File.write!(secret, @password <> "\n")
    both = Path.join(dir, "cassandra.credentials")
    [ini] = Guide.blocks("auth-password", "ini")
    File.write!(both, ini)

    [
      "/run/secrets/cassandra_password": secret,
      "/etc/my_app/cassandra.credentials": both
    ]
  end

  defp at(options, server) do
    points = for host <- options[:contact_points], do: {host, server.port}
    Keyword.put(options, :contact_points, points)
  end

  # A password that was changed a moment ago can't be changed again at once.
  defp run(admin, statements) do
    for statement <- String.split(statements, ";", trim: true), String.trim(statement) != "" do
      eventually(statement, fn ->
        match?({:ok, _result}, Palladion.query(admin, statement, [], timeout: 30_000))
      end)
    end
  end

  defp users(admin) do
    for row <- Palladion.query!(admin, "SELECT username FROM system_views.clients").rows,
        do: row["username"]
  end
end
