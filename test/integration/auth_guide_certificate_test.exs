defmodule Palladion.Integration.AuthGuideCertificateTest do
  @moduledoc """
  What `guides/auth-certificate.md` says is done as it stands there: its commands make the certificate, Cassandra has its configuration and
  its identities, first with passwords besides and then without, and each of its clients logs in.
  """

  # The configurations read an environment variable.
  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.Clusters, except: [options: 2]
  import Palladion.Test.Logins

  alias Palladion.Test.{Cassandra, Guide, Testkit}

  @moduletag :capture_log

  @clients Guide.configurations("auth-certificate")

  test "there are as many clients as the guide means to have" do
    assert length(@clients) == 3
    assert length(Guide.blocks("auth-certificate", "yaml")) == 3
  end

  test "a server that answers as ScyllaDB does" do
    for ready <- [true, false], client <- @clients, client =~ "certfile:" do
      server =
        Testkit.start_server(
          method: :certificate,
          authenticator: "com.scylladb.auth.CertificateAuthenticator",
          client_auth: :required,
          role: "my_app",
          ready: ready
        )

      options =
        Guide.options(client,
          "/etc/my_app/ca.crt": server.cacertfile,
          "/etc/my_app/client.crt": server.client_certfile,
          "/etc/my_app/client.key": server.client_keyfile
        )

      name = ready_cluster!(server, at(options, server))
      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
      assert Enum.any?(Testkit.connections(server), &(&1.user == "my_app"))
    end
  end

  describe "Cassandra" do
    @describetag :cassandra
    @describetag :managed_server
    @describetag needs_cassandra_5: "logins by certificate"

    setup do
      System.put_env("CASSANDRA_PASSWORD", "cassandra")
      on_exit(fn -> System.delete_env("CASSANDRA_PASSWORD") end)
      %{tmp_dir: directory} = tmp_dir(%{})
      output = run_commands(directory)
      env = %{"CASS_STORE" => "jks", "CASS_CERTS" => directory}
      server = Cassandra.server(:mtlsfallback, name: :guide_certificate, env: env)
      on_exit(fn -> Cassandra.wipe(server) end)
      %{directory: directory, output: output, server: server}
    end

    test "takes the guide's certificate, first with passwords besides and then without",
         context do
      %{directory: directory, server: server} = context
      assert context.output =~ "URI:spiffe://cassandra.example/my_app"
      [both, alone, _scylla] = Guide.blocks("auth-certificate", "yaml")
      assert configuration(both, directory) -- Guide.lines(Cassandra.yaml(server)) == []

      [password] = for client <- @clients, client =~ "tls: false", do: client
      admin = ready_cluster!(server, options(password, context))
      [_ | _] = certificates = for client <- @clients, client =~ "certfile:", do: client

      # Nobody's yet.
      refused!(server, options(hd(certificates), context), :bad_credentials)

      [identities] = Guide.blocks("auth-certificate", "cql")

      for statement <- String.split(identities, ";", trim: true),
          String.trim(statement) != "",
          do: change!(admin, statement)

      for client <- certificates do
        log_in(server, client, context, fn -> assert "my_app" in users(admin) end)
      end

      :ok = Palladion.stop(admin)
      :ok = reconfigure(server, configuration(both, directory), configuration(alone, directory))
      for client <- certificates, do: log_in(server, client, context)
    end
  end

  # Making the authority, the keystores and the truststore is the guide of TLS.
  defp run_commands(directory) do
    [making | _] = Guide.read("tls") |> String.split("## The five levels")
    made = for [_, block] <- Regex.scan(~r/^```sh\n(.*?)^```$/ms, making), do: block
    script = Path.join(directory, "guide.sh")
    lines = ["set -eu" | made] ++ Guide.blocks("auth-certificate", "sh")
    File.write!(script, Enum.join(lines, "\n"))
    {output, code} = System.cmd("sh", [script], cd: directory, stderr_to_stdout: true)
    assert code == 0, output
    output
  end

  defp configuration(yaml, directory),
    do: yaml |> String.replace("/etc/cassandra", directory) |> Guide.lines()

  # The lines of one for those of the other.
  defp reconfigure(server, old, new) do
    run = System.get_env("CASS_RUN", Path.expand("../../_build/cassandra", __DIR__))
    file = Path.join([run, server.name, "conf/cassandra.yaml"])

    others = file |> File.read!() |> String.split("\n") |> Enum.reject(&(&1 in old))

    File.write!(file, Enum.join(others ++ new, "\n") <> "\n")
    Cassandra.restart(server)
  end

  defp options(client, %{directory: directory, server: server}),
    do: client |> Guide.options("/etc/my_app": directory) |> at(server)

  defp at(options, server) do
    points = for host <- options[:contact_points], do: {host, server.port}
    # The helper's login of the server, where the guide has none.
    Keyword.merge([contact_points: points, auth: nil], Keyword.delete(options, :contact_points))
  end

  defp log_in(server, client, context, meanwhile \\ fn -> :ok end) do
    name = ready_cluster!(server, options(client, context))
    assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
    assert mechanisms(name) == ["EXTERNAL"]
    meanwhile.()
    :ok = Palladion.stop(name)
  end

  defp users(admin) do
    for row <- Palladion.query!(admin, "SELECT username FROM system_views.clients").rows,
        do: row["username"]
  end
end
