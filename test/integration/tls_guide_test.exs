defmodule Palladion.Integration.TLSGuideTest do
  @moduledoc """
  What `guides/tls.md` says is done as it stands there: its commands make the files, Cassandra has its configuration, and each of
  its clients connects.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1]
  import Palladion.Test.Clusters

  alias Palladion.Test.Cassandra

  @moduletag :cassandra
  @moduletag :managed_server

  @guide Path.expand("../../guides/tls.md", __DIR__)

  setup_all do
    %{tmp_dir: directory} = tmp_dir(%{})
    script = Path.join(directory, "guide.sh")
    File.write!(script, Enum.join(["set -eu" | blocks("sh")], "\n"))
    {output, code} = System.cmd("sh", [script], cd: directory, stderr_to_stdout: true)
    assert code == 0, output

    env = %{"CASS_STORE" => "jks", "CASS_CERTS" => directory}
    start = &{&1, Cassandra.server(&1, name: "guide-#{&1}", env: env)}
    servers = Map.new([:tls, :mtls], start)
    on_exit(fn -> servers |> Map.values() |> Enum.each(&Cassandra.wipe/1) end)
    %{directory: directory, output: output, servers: servers}
  end

  # Those with whole configurations, each of which connects.
  @clients for [_, block] <- Regex.scan(~r/^```elixir\n(config .*?)^```$/ms, File.read!(@guide)),
               do: block

  test "there are as many clients as the guide means to have" do
    assert length(@clients) == 9
    assert length(blocks("yaml")) == 2
  end

  test "the commands say what the guide lets one expect", %{output: output} do
    assert output =~ "127.0.0.1.crt: OK"
    assert output =~ ~r/^sha256 Fingerprint=(..:){31}..$/m
  end

  test "the servers have the guide's configuration", %{servers: servers} = context do
    for {yaml, variant} <- Enum.zip(blocks("yaml"), [:tls, :mtls]) do
      expected = yaml |> localized(context) |> lines()
      assert expected -- (servers[variant] |> Cassandra.yaml() |> lines()) == []
    end
  end

  for {client, n} <- Enum.with_index(@clients, 1) do
    @tag client: client
    test "the guide's client #{n} connects", context do
      {options, []} = context.client |> localized(context) |> evaluated()
      variant = if options[:tls][:certfile], do: :mtls, else: :tls
      server = context.servers[variant]
      points = for host <- options[:contact_points], do: {host, server.port}
      name = ready_cluster!(server, Keyword.put(options, :contact_points, points))
      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
      {:ok, %{endpoints: [%{connections: [%{tls: tls} | _]}]}} = Palladion.status(name)
      assert tls.verified_name == if(given_up?(options[:tls]), do: nil, else: "127.0.0.1")
    end
  end

  defp given_up?(tls), do: tls[:verify] == :verify_none or tls[:verify_hostname] == false

  defp blocks(language) do
    for [_, block] <- Regex.scan(~r/^```#{language}\n(.*?)^```$/ms, File.read!(@guide)), do: block
  end

  defp localized(text, %{directory: directory}),
    do: String.replace(text, ["/etc/cassandra", "/etc/my_app"], directory)

  defp lines(text), do: String.split(text, "\n", trim: true)

  defp evaluated("config :my_app, MyApp.DB," <> options), do: Code.eval_string("[#{options}]")
end
