# The main job, in steps that say what they see. Run by bin/demo; the configuration comes from
# config/runtime.exs and the environment.

defmodule Demo do
  alias Palladion.Dev, as: DB
  alias Demo.{Certificate, Row}

  @rows 10_000
  @pool_size 4
  @writers 64
  @page_size 1_000

  def run do
    connect()
    create_table()
    rows_written = write()
    {rows_read, equal?} = read_and_compare()
    {reopened, resumed} = open_again()

    title("Done")

    IO.puts(
      "demo: rows_written=#{rows_written} rows_read=#{rows_read} " <>
        "connections_reopened=#{reopened} resumed=#{resumed}"
    )

    right? =
      rows_written == @rows and rows_read == @rows and equal? and
        reopened >= @pool_size and resumed >= reopened - 1

    System.halt(if right?, do: 0, else: 1)
  end

  # Connecting

  defp connect do
    title("Connecting a pool of #{@pool_size}")
    children = [{Palladion, otp_app: :palladion, name: DB, pool: [size: @pool_size]}]

    {micros, _} =
      :timer.tc(fn ->
        {:ok, _} = Supervisor.start_link(children, strategy: :one_for_one)
        :ok = Palladion.await_ready(DB, 30_000)
        await_pool()
      end)

    {:ok, %{endpoints: [endpoint]}} = Palladion.status(DB)
    {:ok, stats} = Palladion.stats(DB)
    [first | _] = endpoint.connections

    item("#{length(endpoint.connections)} connections to #{endpoint.endpoint} in #{ms(micros)}")
    item("#{version(first.tls.version)}, #{first.tls.cipher}; #{handshakes(stats)}")
    item("the certificates, verified for the name #{inspect(first.tls.verified_name)}:")
    for der <- endpoint.certificates, line <- Certificate.describe(der), do: item("  " <> line)
    item("#{stats.logins} logins by #{authenticator(first.authenticator)}")

    [local] = Palladion.query!(DB, "SELECT * FROM system.local").rows

    item(
      "Cassandra #{local["release_version"]}, CQL #{Enum.join(first.cql_versions, ", ")}, " <>
        "native protocol up to v#{local["native_protocol_version"]}"
    )
  end

  # The first connection is ready before the rest is.
  defp await_pool(tries \\ 3_000) do
    {:ok, %{endpoints: endpoints} = status} = Palladion.status(DB)

    cond do
      Enum.all?(endpoints, &(length(&1.connections) == @pool_size)) ->
        :ok

      tries == 0 ->
        raise status.last_error || "the pool is not full after 30 s"

      true ->
        Process.sleep(10)
        await_pool(tries - 1)
    end
  end

  defp version(:"tlsv1.2"), do: "TLS 1.2"
  defp version(:"tlsv1.3"), do: "TLS 1.3"

  defp handshakes(stats) do
    "handshakes: #{stats.handshakes_full} full, #{stats.handshakes_resumed} resumed"
  end

  defp authenticator(nil), do: "nobody: the server asks for no login"
  defp authenticator(class), do: "#{System.get_env("CASSANDRA_USERNAME")} to #{class}"

  # The table

  defp create_table do
    title("Creating a keyspace and a table")

    Palladion.query!(DB, """
    CREATE KEYSPACE IF NOT EXISTS demo
    WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}
    """)

    columns = Enum.map_join(Row.columns(), ", ", fn {name, type} -> "#{name} #{type}" end)

    Palladion.query!(
      DB,
      "CREATE TABLE IF NOT EXISTS demo.readings (#{columns}, PRIMARY KEY (id))"
    )

    item("demo.readings: " <> Enum.join(Keyword.values(Row.columns()), ", "))
  end

  # Rows

  defp write do
    title("Writing #{number(@rows)} rows, #{@writers} at a time")
    names = Keyword.keys(Row.columns())
    markers = Enum.map_join(names, ", ", fn _ -> "?" end)

    insert =
      Palladion.prepare!(
        DB,
        "INSERT INTO demo.readings (#{Enum.join(names, ", ")}) VALUES (#{markers})"
      )

    {micros, written} =
      :timer.tc(fn ->
        1..@rows
        # Palladion's own timeout says why a row was not written.
        |> Task.async_stream(&Palladion.execute(DB, insert, Row.row(&1)),
          max_concurrency: @writers,
          timeout: :infinity
        )
        |> Enum.reduce(0, &count/2)
      end)

    item("#{number(written)} in #{ms(micros)}, #{rate(written, micros)}")
    written
  end

  defp count({:ok, {:ok, _result}}, written) do
    if rem(written + 1, div(@rows, 4)) == 0, do: item(number(written + 1))
    written + 1
  end

  defp count({:ok, {:error, error}}, written) do
    item("not written: " <> Exception.message(error))
    written
  end

  defp read_and_compare do
    title("Reading them back, page by page")
    select = Palladion.prepare!(DB, "SELECT * FROM demo.readings")
    {micros, pages} = :timer.tc(fn -> pages(select, nil, []) end)
    rows = Enum.concat(pages)
    item("#{number(length(rows))} rows on #{length(pages)} pages in #{ms(micros)}")

    {equal, different} = Enum.split_with(rows, &(&1 == Row.row(&1["id"])))
    item("#{number(length(equal))} equal what was written, #{number(length(different))} don't")
    for row <- Enum.take(different, 3), do: item("different: #{inspect(row)}")

    # Each is there once: none stands for another that is missing.
    ids = MapSet.new(equal, & &1["id"])
    {length(rows), different == [] and ids == MapSet.new(1..@rows)}
  end

  defp pages(select, state, pages) do
    options = [page_size: @page_size, paging_state: state]
    result = Palladion.execute!(DB, select, [], options)

    case result.paging_state do
      nil -> Enum.reverse([result.rows | pages])
      next -> pages(select, next, [result.rows | pages])
    end
  end

  # Reconnecting

  defp open_again do
    title("Opening the pool again")
    {:ok, before} = Palladion.stats(DB)
    {micros, :ok} = :timer.tc(fn -> Palladion.reconnect(DB, 30_000) end)
    {:ok, stats} = Palladion.stats(DB)

    reopened = stats.connections_opened - before.connections_opened
    resumed = stats.handshakes_resumed - before.handshakes_resumed
    full = stats.handshakes_full - before.handshakes_full
    item("#{reopened} connections in #{ms(micros)}; handshakes: #{full} full, #{resumed} resumed")
    {reopened, resumed}
  end

  # Text

  defp title(text), do: IO.puts("\n" <> text)
  defp item(text), do: IO.puts("  " <> text)

  defp ms(micros), do: "#{div(micros, 1_000)} ms"
  defp rate(count, micros), do: "#{number(div(count * 1_000_000, max(micros, 1)))} a second"

  defp number(n) when n < 1_000, do: "#{n}"

  defp number(n) do
    "#{number(div(n, 1_000))},#{n |> rem(1_000) |> to_string() |> String.pad_leading(3, "0")}"
  end
end

defmodule Demo.Row do
  # Every row is a function of its id, so what is read can be compared with what must be there.

  @columns [
    id: "int",
    sensor: "uuid",
    at: "timestamp",
    name: "text",
    value: "double",
    count: "bigint",
    valid: "boolean",
    raw: "blob",
    samples: "list<int>",
    labels: "map<text, text>"
  ]

  def columns, do: @columns

  def row(id) when is_integer(id) do
    %{
      "id" => id,
      "sensor" => uuid(id),
      "at" => DateTime.from_unix!(1_700_000_000_000 + id * 1_234, :millisecond),
      "name" => "Sensor Nº #{id} – Ἴλιος",
      "value" => id / 7,
      "count" => id * 1_000_000_007,
      # Every third has none.
      "valid" => if(rem(id, 3) == 0, do: nil, else: rem(id, 2) == 0),
      "raw" => :crypto.hash(:sha256, <<id::32>>),
      "samples" => Enum.map(0..rem(id, 5), &(&1 - id)),
      "labels" => %{"room" => "#{rem(id, 100)}", "floor" => "#{rem(id, 9)}"}
    }
  end

  defp uuid(id) do
    <<a::binary-8, b::binary-4, c::binary-3, d::binary-3, e::binary-12, _::binary>> =
      :sha256 |> :crypto.hash("sensor #{id}") |> Base.encode16(case: :lower)

    "#{a}-#{b}-4#{c}-8#{d}-#{e}"
  end
end

defmodule Demo.Certificate do
  # What an administrator wants to see of a certificate.

  require Record

  for {name, tag} <- [certificate: :OTPCertificate, tbs: :OTPTBSCertificate, ext: :Extension] do
    fields = Record.extract(tag, from_lib: "public_key/include/public_key.hrl")
    Record.defrecordp(name, tag, fields)
  end

  @subject_alt_name {2, 5, 29, 17}
  @common_name {2, 5, 4, 3}

  def describe(der) do
    certificate(tbsCertificate: tbs) = :public_key.pkix_decode_cert(der, :otp)
    {:Validity, _from, until} = tbs(tbs, :validity)

    [
      name(tbs(tbs, :subject)),
      "  issuer   #{name(tbs(tbs, :issuer))}",
      "  expires  #{time(until)}"
    ] ++ names(tbs(tbs, :extensions))
  end

  defp name({:rdnSequence, parts}) do
    Enum.map_join(List.flatten(parts), ", ", fn
      {:AttributeTypeAndValue, @common_name, value} -> "CN=#{text(value)}"
      {:AttributeTypeAndValue, oid, value} -> "#{dotted(oid)}=#{text(value)}"
    end)
  end

  defp dotted(oid), do: oid |> Tuple.to_list() |> Enum.join(".")

  defp text({_kind, value}), do: to_string(value)
  defp text(value), do: to_string(value)

  defp time({:utcTime, text}) do
    # Two digits of the year, of which those from 50 on are of the last century.
    century = if text > ~c"5", do: "19", else: "20"
    date(century <> to_string(text))
  end

  defp time({:generalTime, text}), do: date(to_string(text))

  defp date(<<year::binary-4, month::binary-2, day::binary-2, _::binary>>) do
    "#{year}-#{month}-#{day}"
  end

  defp names(extensions) when is_list(extensions) do
    case Enum.find(extensions, &(ext(&1, :extnID) == @subject_alt_name)) do
      nil -> []
      found -> ["  names    " <> Enum.map_join(ext(found, :extnValue), ", ", &alt_name/1)]
    end
  end

  defp names(_none), do: []

  defp alt_name({:dNSName, name}), do: to_string(name)
  defp alt_name({:iPAddress, <<a, b, c, d>>}), do: to_string(:inet.ntoa({a, b, c, d}))

  defp alt_name({:iPAddress, <<bytes::binary-16>>}) do
    parts = for <<part::16 <- bytes>>, do: part
    to_string(:inet.ntoa(List.to_tuple(parts)))
  end

  defp alt_name({kind, _value}), do: to_string(kind)
end

Demo.run()
