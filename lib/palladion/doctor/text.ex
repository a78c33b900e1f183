defmodule Palladion.Doctor.Text do
  @moduledoc false
  # Internal: a report for a terminal.

  alias Palladion.Config.NodeKey
  alias Palladion.Printable

  @width 100
  @marks %{ok: "ok", warning: "WARNING", problem: "PROBLEM", skipped: "-"}
  @indent String.duplicate(" ", 10)

  # What isn't looked at for one of these reasons stands in one line.
  @grouped [
    not_verified: "Not tried with a server that isn't verified",
    no_tls: "Not there without TLS",
    not_reached: "Not reached"
  ]

  @doc false
  # Without a line end.
  @spec format(Palladion.Doctor.Report.t()) :: String.t()
  def format(report) do
    told = Enum.reject(report.steps, &Keyword.has_key?(@grouped, &1.reason))

    lines =
      ["#{NodeKey.location(report.host, report.port)}#{address(report)}", ""] ++
        Enum.flat_map(told, &step/1) ++ grouped(report.steps) ++ ["", verdict(report.steps)]

    Enum.map_join(lines, "\n", &Printable.escape/1)
  end

  defp address(%{address: nil}), do: ""
  defp address(%{address: same, host: same}), do: ""
  defp address(%{address: address}), do: " (#{address})"

  defp step(step) do
    marked(step.status, "#{step.title}: #{step.summary}") ++
      Enum.flat_map(step.lines, &line/1) ++ advice(step.advice)
  end

  defp grouped(steps) do
    for {reason, text} <- @grouped,
        titles = for(%{reason: ^reason} = step <- steps, do: step.title),
        titles != [],
        line <- marked(:skipped, "#{text}: #{Enum.join(titles, ", ")}"),
        do: line
  end

  defp marked(status, text) do
    mark = String.pad_trailing("[#{@marks[status]}]", String.length(@indent))
    hang(words(text), mark, @indent)
  end

  # Where it begins with a title, what it goes on with stands below its text.
  defp line(line) do
    [_, title, text] = Regex.run(~r/^( *(?:[\w. ]+: +)?)(.*)$/s, line)
    head = @indent <> title
    hang(words(text), head, String.duplicate(" ", String.length(head)))
  end

  defp advice(nil), do: []

  defp advice(text) do
    # An option isn't torn from its value.
    units =
      ~r/\w+: \[(?:[^\[\]]|\[[^\[\]]*\])*\][^ ]*|[^ ]+/ |> Regex.scan(text) |> List.flatten()

    hang(units, @indent <> "-> ", @indent <> "   ")
  end

  # Of what a server sent as well, which may be empty.
  defp words(text), do: text |> Printable.escape() |> String.split(" ")

  # The first line begins with `head`, those that follow with as much space.
  defp hang(units, head, indent) do
    [first | rest] = wrap(units, @width - String.length(head))
    [head <> first | Enum.map(rest, &(indent <> &1))]
  end

  defp wrap([first | rest], width) do
    {lines, last} = Enum.reduce(rest, {[], first}, &append(&1, &2, width))
    Enum.reverse([last | lines])
  end

  defp append(unit, {lines, line}, width) do
    longer = line <> " " <> unit

    if String.length(longer) <= width,
      do: {lines, longer},
      else: {[line | lines], unit}
  end

  defp verdict(steps) do
    case {of(steps, :problem), of(steps, :warning), Enum.find(steps, &(&1.reason == :no_login))} do
      {[], [], nil} -> "All well."
      {[], [], _login} -> "No problem. The login was not tried."
      {[], warnings, _} -> "No problem, #{number(warnings, "warning")}."
      {problems, [], _} -> "#{number(problems, "problem")}."
      {problems, warnings, _} -> "#{number(problems, "problem")}, #{number(warnings, "warning")}."
    end
  end

  defp of(steps, status), do: Enum.filter(steps, &(&1.status == status))

  defp number([_], word), do: "1 #{word}"
  defp number(list, word), do: "#{length(list)} #{word}s"
end
