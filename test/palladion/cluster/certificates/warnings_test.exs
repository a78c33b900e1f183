defmodule Palladion.Cluster.Certificates.WarningsTest do
  use ExUnit.Case, async: true

  import Palladion.Test.{Certificates, ReloadLibrary}

  alias Palladion.Cluster.Certificates

  @moduletag :capture_log

  setup :tmp_dir

  @day 86_400

  setup %{tmp_dir: dir} do
    # Whole files, for the test decides what time it is.
    [authority, client] =
      for {name, days} <- [{"authority", 100}, {"client", 50}] do
        paths = for extension <- ["key", "pem"], do: Path.join(dir, "#{name}.#{extension}")
        [key, certificate] = paths

        openssl!(
          ~w(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days #{days}) ++
            ["-subj", "/O=Shop/CN=#{name}", "-keyout", key, "-out", certificate]
        )

        %{certfile: certificate, keyfile: key}
      end

    files = [cacertfile: authority.certfile] ++ Map.to_list(client)
    now = System.system_time(:second)
    %{context: new(files), files: files, now: now}
  end

  defp told(context, id),
    do: for({[:certificate, :expiring], _, it} <- events(context, id), do: it)

  defp look_again(pid) do
    send(pid, :look)
    :sys.get_state(pid)
  end

  test "are told at the start and once a day, each by itself", %{context: context, now: now} do
    id = attach()
    at(context, now)
    pid = start(context)
    assert told(context, id) == []

    at(context, now + 21 * @day)
    look_again(pid)

    assert [%{certificate: :client, subject: "CN=client,O=Shop", endpoint: nil} = it] =
             told(context, id)

    assert_in_delta it.not_after, now + 50 * @day, 3_600
    for _ <- 1..3, do: look_again(pid)
    assert told(context, id) == []

    # Another process doesn't tell it again, a day later does.
    stop_supervised!(Certificates)
    pid = start(context)
    assert told(context, id) == []
    at(context, now + 22 * @day)
    look_again(pid)
    assert [%{certificate: :client}] = told(context, id)

    at(context, now + 101 * @day)
    look_again(pid)

    assert [%{certificate: :authority, subject: "CN=authority,O=Shop"}, %{certificate: :client}] =
             context |> told(id) |> Enum.sort_by(& &1.certificate)
  end

  test "are in the log, with what to do", %{context: context, now: now} do
    at(context, now + 25 * @day)
    assert [line] = log_of(context, fn -> start(context) end)

    assert line =~
             ~r/^\[warning\] .* our own certificate \("CN=client,O=Shop"\) expires in 2[45] days, on \d{4}-/

    assert line =~ "reload_tls"
  end

  test "of servers are told when they are seen, and while they are connected", scenario do
    %{context: context, now: now} = scenario
    id = attach()
    at(context, now)
    pid = start(context)
    Certificates.seen(context.table, "db1:9042", now + 3 * @day)
    Certificates.seen(context.table, "db1:9042", now + 3 * @day)
    Certificates.seen(context.table, "db2:9042", now + 300 * @day)
    Certificates.seen(context.table, "db3:9042", nil)
    :sys.get_state(pid)

    assert told(context, id) == [
             %{
               certificate: :server,
               subject: nil,
               endpoint: "db1:9042",
               not_after: now + 3 * @day
             }
           ]

    connected(context, [
      {"db1:9042", %{not_after: now + 3 * @day, generation: 0}},
      {"db1:9042", %{not_after: now + 3 * @day, generation: 0}},
      {"db4:9042", %{not_after: now - 1, generation: 0}},
      {"db5:9042", %{not_after: nil, generation: 0}},
      {"db6:9042", nil}
    ])

    look_again(pid)
    assert [%{endpoint: "db4:9042"}] = told(context, id)
    at(context, now + @day)
    look_again(pid)

    assert ["db1:9042", "db4:9042"] =
             context |> told(id) |> Enum.map(& &1.endpoint) |> Enum.sort()
  end

  test "are told after a reload", %{context: context, now: now} do
    id = attach()
    at(context, now)
    start(context)
    at(context, now + 21 * @day)
    task = reload(context)
    {_tls, answer} = given()
    answer.(:ok)
    assert Task.await(task) == :ok
    assert [%{certificate: :client}] = told(context, id)
  end

  test "are not told to whom doesn't want it", %{files: files, now: now} do
    stop_supervised!(Agent)
    context = new(files ++ [expiry_warning: false])
    id = attach()
    at(context, now + 1_000 * @day)
    pid = start(context)
    Certificates.seen(context.table, "db1:9042", 0)
    :sys.get_state(pid)
    assert told(context, id) == []
  end
end
