defmodule Palladion.Cluster.Certificates.WatchingTest do
  use ExUnit.Case, async: true

  import Palladion.Test.{Certificates, ReloadLibrary}

  alias Palladion.Cluster.{Certificates, NodeTable}

  @moduletag :capture_log

  setup :tmp_dir

  setup %{tmp_dir: dir} do
    ours = chain()

    files = [
      cacertfile: write!(dir, "ca.pem", pem(ours.root)),
      certfile: write!(dir, "client.pem", pem([ours.leaf, ours.intermediate])),
      keyfile: write!(dir, "client.key", key_pem(ours.key))
    ]

    %{ours: ours, files: files}
  end

  # Without warnings, which have their own tests.
  defp running(files, more \\ []) do
    context = new(files ++ Keyword.merge([expiry_warning: false], more))
    Map.put(context, :pid, start(context))
  end

  # Never by itself, so that a test says when.
  defp watching(files, more \\ []),
    do: running(files, [watch_interval: 86_400_000] ++ more)

  defp look(%{pid: pid}) do
    send(pid, :watch)
    :sys.get_state(pid)
  end

  test "are loaded when their content is another", context do
    reloading = watching(context.files)
    id = attach()
    theirs = chain()
    write!(context.tmp_dir, "ca.pem", pem(theirs.root))
    look(reloading)
    {%{cacerts: [root]}, answer} = given()
    assert root == theirs.root
    answer.(:ok)
    look(reloading)
    look(reloading)
    refute_received {:tls_reload, _, _, _}
    assert [{[:tls, :reloaded], _, %{trigger: :watch}}] = events(reloading, id)
  end

  test "are left alone when only their times are others", context do
    reloading = watching(context.files)
    for {_name, path} <- context.files, do: File.touch!(path, 1_000_000_000)
    File.cp!(context.files[:cacertfile], Path.join(context.tmp_dir, "copy"))
    File.rename!(Path.join(context.tmp_dir, "copy"), context.files[:cacertfile])
    look(reloading)
    refute_received {:tls_reload, _, _, _}
  end

  test "may be put in place by a symbolic link to their directory", context do
    dir = context.tmp_dir
    theirs = chain()

    for {version, chain} <- [{"v1", context.ours}, {"v2", theirs}] do
      File.mkdir!(Path.join(dir, version))
      write!(Path.join(dir, version), "ca.pem", pem(chain.root))
      File.touch!(Path.join([dir, version, "ca.pem"]), 1_000_000_000)
    end

    File.ln_s!("v1", Path.join(dir, "data"))
    File.ln_s!(Path.join("data", "ca.pem"), Path.join(dir, "linked.pem"))
    reloading = watching(cacertfile: Path.join(dir, "linked.pem"))
    File.ln_s!("v2", Path.join(dir, "data.new"))
    File.rename!(Path.join(dir, "data.new"), Path.join(dir, "data"))
    look(reloading)
    assert {%{cacerts: [root]}, _answer} = given()
    assert root == theirs.root
  end

  test "that can't be used are told once for each content, and tried when it changes",
       context do
    reloading = watching(context.files)
    id = attach()
    file = context.files[:certfile]
    whole = File.read!(file)
    in_force = NodeTable.certificates(reloading.table)

    for spoil <- [
          fn -> File.rm!(file) end,
          fn -> File.write!(file, binary_part(whole, 0, 90)) end
        ] do
      spoil.()
      assert [line] = log_of(reloading, fn -> for _ <- 1..3, do: look(reloading) end)

      assert line =~
               ~r/^\[error\] .* the TLS files have changed and can't be used; those of before stay/

      assert line =~ "tls.certfile"
    end

    assert NodeTable.certificates(reloading.table) == in_force
    refute_received {:tls_reload, _, _, _}

    # What was in force is there again: nothing to do, and what is wrong later is told again.
    File.write!(file, whole)
    assert log_of(reloading, fn -> look(reloading) end) == []
    refute_received {:tls_reload, _, _, _}
    assert [_line] = log_of(reloading, fn -> File.rm!(file) && look(reloading) end)

    assert [:reload_failed] =
             events(reloading, id) |> Enum.map(fn {[_, it], _, _} -> it end) |> Enum.uniq()
  end

  test "are tried again where it is not their content that is wrong", context do
    answers = :atomics.new(1, [])
    ours = context.ours

    # As a secrets store that can't be reached for some time.
    key = fn ->
      if :atomics.get(answers, 1) == 1, do: raise("unreachable")
      ours.key
    end

    reloading = watching(cacertfile: context.files[:cacertfile], cert: ours.leaf, key: key)
    id = attach()
    write!(context.tmp_dir, "ca.pem", pem(chain().root))
    :atomics.put(answers, 1, 1)
    assert [line] = log_of(reloading, fn -> for _ <- 1..3, do: look(reloading) end)
    assert line =~ "tls.key"
    assert [{[:tls, :reload_failed], _, %{trigger: :watch}}] = events(reloading, id)
    refute_received {:tls_reload, _, _, _}

    :atomics.put(answers, 1, 0)
    look(reloading)
    {_tls, answer} = given()
    answer.(:ok)
    look(reloading)
    assert [{[:tls, :reloaded], _, %{trigger: :watch}}] = events(reloading, id)

    # It is told anew when it comes again.
    write!(context.tmp_dir, "ca.pem", pem(ours.root))
    :atomics.put(answers, 1, 1)
    assert [_line] = log_of(reloading, fn -> for _ <- 1..3, do: look(reloading) end)
  end

  test "that changed after they were read are found, however soon", context do
    reloading = new(context.files ++ [watch_interval: 86_400_000, expiry_warning: false])
    write!(context.tmp_dir, "ca.pem", pem(chain().root))
    look(Map.put(reloading, :pid, start(reloading)))
    {_tls, _answer} = given()
  end

  test "are loaded as a whole when both of a pair have come", context do
    reloading = watching(context.files)
    theirs = chain()
    write!(context.tmp_dir, "client.pem", pem([theirs.leaf, theirs.intermediate]))
    assert [line] = log_of(reloading, fn -> look(reloading) end)
    assert line =~ "doesn't belong to the certificate"
    write!(context.tmp_dir, "client.key", key_pem(theirs.key))
    look(reloading)
    assert {%{cert_chain: [leaf | _]}, _answer} = given()
    assert leaf == theirs.leaf
  end

  test "with which connections fail are told of", context do
    reloading = watching(context.files)
    write!(context.tmp_dir, "ca.pem", pem(chain().root))

    assert [line] =
             log_of(reloading, fn ->
               look(reloading)
               {_tls, answer} = given()
               answer.({:error, {:unknown_ca, %{endpoint: "db1:9042"}}})
               for _ <- 1..3, do: look(reloading)
             end)

    assert line =~
             ~r/^\[error\] .* new connections fail; those of before go on serving: db1:9042/

    refute_received {:tls_reload, _, _, _}
  end

  test "are those of the reload before", context do
    reloading = watching(context.files)
    other = write!(context.tmp_dir, "other.pem", pem(context.ours.root))
    task = reload(reloading, cacertfile: other)
    {_tls, answer} = given()
    answer.(:ok)
    assert Task.await(task) == :ok
    File.rm!(context.files[:cacertfile])
    look(reloading)
    refute_received {:tls_reload, _, _, _}
    write!(context.tmp_dir, "other.pem", pem(chain().root))
    look(reloading)
    {_tls, _answer} = given()
  end

  test "that changed while nobody watched are found by the next process", context do
    reloading = watching(context.files)
    monitor = Process.monitor(reloading.pid)
    stop_supervised!(Certificates)
    assert_receive {:DOWN, ^monitor, :process, _pid, _reason}
    write!(context.tmp_dir, "ca.pem", pem(chain().root))
    reloading = Map.put(reloading, :pid, start(reloading))
    look(reloading)
    {_tls, _answer} = given()
  end

  test "are looked at without being asked to", context do
    running(context.files, watch_interval: 1_000)
    write!(context.tmp_dir, "ca.pem", pem(chain().root))
    {_tls, _answer} = given()
  end

  test "are not looked at where nobody wants it", context do
    running(context.files)
    write!(context.tmp_dir, "ca.pem", pem(chain().root))
    refute_receive {:tls_reload, _, _, _}, 50
  end
end
