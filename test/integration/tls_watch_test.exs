defmodule Palladion.Integration.TLSWatchTest do
  @moduledoc """
  Watched files are replaced, in whatever way, while callers never stop asking: no query fails, what is whole is taken, and
  what isn't changes nothing.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Reloads, Simulated}
  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.ConfigError
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log
  @moduletag timeout: 120_000

  setup :tmp_dir
  setup do: %{server: start_server!()}

  setup do
    id = TelemetryEvents.attach()
    on_exit(fn -> :telemetry.detach(id) end)
    %{id: id}
  end

  # A connection for each of the three nodes, and the control connection.
  defp watch!(server, tls) do
    name = follow!(server, tls: tls ++ [watch_interval: 50])
    await_open(name, server, 4)
    assert generations(name) == [0]
    {name, start_traffic(name)}
  end

  # What is open shows this certificate and nothing else.
  defp await_shown(name, server, certificate) do
    wanted = [fingerprint(certificate)]
    eventually("all show it", fn -> shown(server) == wanted end)
    await_open(name, server, 4)
    assert shown(server) == wanted
  end

  test "one after the other, each by a rename", %{server: server, tmp_dir: dir, id: id} do
    {name, traffic} = watch!(server, files(dir, server))
    {certificate, _key} = second = Testkit.issue(dir, name: "second", client: true)
    take_identity(second, dir)
    assert %{trigger: :watch} = await_event(id, name, :reloaded)
    await_shown(name, server, certificate)
    assert_none_failed(traffic)
  end

  test "a certificate waits for its key", %{server: server, tmp_dir: dir, id: id} do
    {name, traffic} = watch!(server, files(dir, server))
    {certificate, key} = Testkit.issue(dir, name: "second", client: true)
    copy(certificate, dir, :certfile)
    assert %{trigger: :watch, error: %ConfigError{}} = await_event(id, name, :reload_failed)
    assert generations(name) == [0]
    copy(key, dir, :keyfile)
    assert %{generation: 1} = await_event(id, name, :reloaded)
    await_shown(name, server, certificate)
    assert_none_failed(traffic)
  end

  test "in place, and half of it first", %{server: server, tmp_dir: dir, id: id} do
    tls = files(dir, server)
    {name, traffic} = watch!(server, tls)
    {certificate, key} = Testkit.issue(dir, name: "second", client: true)

    for {option, file} <- [certfile: certificate, keyfile: key] do
      content = File.read!(file)
      {half, rest} = String.split_at(content, div(String.length(content), 2))
      File.write!(tls[option], half)
      assert %{trigger: :watch, error: %ConfigError{}} = await_event(id, name, :reload_failed)
      assert generations(name) == [0]
      File.write!(tls[option], rest, [:append])
    end

    assert %{generation: 1} = await_event(id, name, :reloaded)
    await_shown(name, server, certificate)
    assert_none_failed(traffic)
  end

  test "all at once by a symbolic link: it takes one reload, and none fails",
       %{server: server, tmp_dir: dir, id: id} do
    first = {server.client_certfile, server.client_keyfile}
    mounted = mount(dir, server.cacertfile, first)
    {name, traffic} = watch!(server, mounted)

    for n <- 1..3 do
      {certificate, _key} = next = Testkit.issue(dir, name: "version-#{n}", client: true)
      swap(dir, "version-#{n}", server.cacertfile, next)
      assert %{trigger: :watch, generation: ^n} = await_event(id, name, :reloaded)
      await_shown(name, server, certificate)
    end

    assert_none_failed(traffic)
    assert %{tls_reloads: 3} = stats(name)
    refute_received {:telemetry, ^id, [:palladion, :tls, :reload_failed], _, %{cluster: ^name}}
  end

  # As Kubernetes has it: links to files below a link, which is the only thing to be replaced.
  defp mount(dir, authorities, identity) do
    swap(dir, "version-0", authorities, identity)

    for option <- [:cacertfile, :certfile, :keyfile] do
      path = Path.join(dir, "mounted-#{option}")
      File.ln_s!("..data/#{option}.pem", path)
      {option, path}
    end
  end

  defp swap(dir, version, authorities, identity) do
    directory = Path.join(dir, "..#{version}")
    File.mkdir!(directory)
    copy(authorities, directory, :cacertfile)
    take_identity(identity, directory)
    link = Path.join(dir, "..data")
    File.ln_s!("..#{version}", link <> "_tmp")
    File.rename!(link <> "_tmp", link)
  end

  # In any order, at any moment; the test's seed decides.
  @steps [:whole, :without_key, :half, :empty, :gone, :nonsense, :stranger]

  test "whatever happens to them: in the end what is whole is in force", context do
    %{server: server, tmp_dir: dir} = context
    tls = files(dir, server)
    {name, traffic} = watch!(server, tls)

    for n <- 1..40 do
      @steps |> Enum.random() |> step(tls, server, dir, n)
      Process.sleep(Enum.random(0..120))
    end

    copy(server.cacertfile, dir, :cacertfile)
    {certificate, _key} = last = Testkit.issue(dir, name: "last", client: true)
    take_identity(last, dir)
    await_shown(name, server, certificate)
    assert [_generation] = generations(name)
    assert_none_failed(traffic)
  end

  defp step(:whole, _tls, server, dir, n) do
    copy(server.cacertfile, dir, :cacertfile)
    take_identity(Testkit.issue(dir, name: "next-#{n}", client: true), dir)
  end

  defp step(:without_key, _tls, _server, dir, n) do
    {certificate, _key} = Testkit.issue(dir, name: "next-#{n}", client: true)
    copy(certificate, dir, :certfile)
  end

  defp step(:half, tls, _server, _dir, _n) do
    path = any(tls)

    with {:ok, content} <- File.read(path),
         do: File.write!(path, binary_part(content, 0, div(byte_size(content), 2)))
  end

  defp step(:empty, tls, _server, _dir, _n), do: tls |> any() |> File.write!("")
  defp step(:gone, tls, _server, _dir, _n), do: tls |> any() |> File.rm()
  defp step(:nonsense, tls, _server, _dir, _n), do: tls |> any() |> File.write!("nonsense")

  # It can be used, but the server doesn't take it.
  defp step(:stranger, _tls, server, dir, _n) do
    copy(server.cacertfile, dir, :cacertfile)
    take_identity({server.other_client_certfile, server.other_client_keyfile}, dir)
  end

  defp any(tls), do: tls |> Keyword.values() |> Enum.random()
end
